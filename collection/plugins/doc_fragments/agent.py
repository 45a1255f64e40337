# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that ask an agent or check its flags; the arguments are in module_utils/_arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """C(agent.endpoints) is where an agent answers, C(agent.well) when it is well, C(agent.change) how a
    change of its flags is checked, C(agent.environment) the variables beside the flags.
    """

    DOCUMENTATION = r"""
options:
  service:
    description: The agent's unit.
    type: str
"""

    ENDPOINTS = r"""
options:
  url:
    description: Address of the agent's HTTP endpoints. Default is where the process of the agent's unit listens.
    type: str
  url_username:
    description: Principal for the agent's endpoints.
    type: str
  url_password:
    description: Secret for the agent's endpoints.
    type: str
  ca_file:
    description:
      - File on the host with the certificates of the authorities that vouch for the endpoints, where they speak TLS.
        Default is what the host trusts.
      - The name in a certificate counts only where O(url) says the address. An address that is found at the agent's own
        process needs no name.
    type: path
  client_cert:
    description: File on the host with the certificate that is shown to endpoints that ask for one.
    type: path
  client_key:
    description: File on the host with the key of O(client_cert). Default is that O(client_cert) holds it too.
    type: path
"""

    ENVIRONMENT = r"""
options:
  environment_files:
    description: Files of variables that the init wrapper reads.
    type: list
    elements: path
    default: [/etc/default/mesos, /etc/default/mesos-slave, /etc/default/mesos-agent]
  take_over_environment:
    description:
      - Whether variables in O(environment_files) of which the init wrapper makes flags (C(MASTER), C(IP), C(LOGS),
        C(ISOLATION)) are commented out there where O(flags) sets the flag. The agent does not start with both.
      - The files are part of the generation; going back gives them back as they were.
    type: bool
    default: false
"""

    WELL = r"""
options:
  registered:
    description: Whether the agent must be registered with a master.
    type: bool
    default: true
  timeout:
    description: Seconds until everything must be as it should.
    type: int
    default: 60
"""

    CHANGE = r"""
options:
  allow_incompatible:
    description: Flags that may change although the agent may not recover from it.
    type: list
    elements: str
    default: []
  compare:
    description:
      - Whether to only compare the host, in check mode. A change that the agent may not recover from is then reported
        like any other change and not rejected.
    type: bool
    default: false
  validator:
    description: Path of the C(mesos-shim) on the host that validates the flag C(default_container_info).
    type: path
"""
