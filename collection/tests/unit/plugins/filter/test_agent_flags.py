# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All flags of an agent, of the variables that name some."""

from __future__ import annotations

import pytest
from ansible_collections.mesos.containerizer.plugins.filter.agent_flags import agent_flags


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (({}, {}, {}, {}), {"launcher_dir": "/l"}),
        (({"launcher_dir": "/own"}, "{}", None, {}), {"launcher_dir": "/own"}),
        (
            ('{"strict": true}', {"rack": "r1"}, '{"cpus": 2}', {}),
            {"launcher_dir": "/l", "attributes": {"rack": "r1"}, "resources": {"cpus": 2}, "strict": True},
        ),
        (({"attributes": "a:b"}, {"a": "c"}, {}, {}), {"launcher_dir": "/l", "attributes": "a:b"}),
        (({}, {}, {}, '{"volumes": []}'), {"launcher_dir": "/l", "default_container_info": '{"volumes": []}'}),
        (("rack=r1", "rack=r1", ["cpus"], {}), {"launcher_dir": "/l"}),
    ],
)
def test_flags_are_those_of_all_variables(given, flags):
    own, *others = given
    assert agent_flags(own, "/l", *others) == flags
