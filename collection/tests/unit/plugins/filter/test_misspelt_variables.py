# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names of variables are taken for misspelt ones."""

from __future__ import annotations

import pytest
from ansible_collections.mesos.containerizer.plugins.filter.misspelt_variables import misspelt_variables


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mesos_agent_flag", "mesos_agent_flags"),
        ("mesos_agent_serivce", "mesos_agent_service"),
        ("mesos_agent_masterurl", "mesos_agent_master_url"),
        ("mesos_agent_Drain", "mesos_agent_drain"),
        ("mesos_shim_flags", "mesos_agent_flags"),
        ("mesos_agent_prefix", "mesos_shim_prefix"),
        ("mesos_shim_configs", "mesos_shim_config"),
        ("mesos_agent_gate_timout", "mesos_agent_gate_timeout"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_one_that_is_meant(name, meant):
    assert misspelt_variables([name]) == ["%s: no such variable; did you mean %s?" % (name, meant)]


def test_what_is_one_and_what_is_somebody_elses_is_left_alone():
    assert misspelt_variables(["mesos_agent_flags", "mesos_shim_prefix", "mesos_agent_rollout"]) == []
    assert misspelt_variables(["mesos_agent_port", "mesos_agent_zk_hosts", "mesos_shim_owner_team"]) == []
