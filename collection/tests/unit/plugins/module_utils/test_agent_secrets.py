# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What nobody may read, on every Python of hosts."""

from __future__ import annotations

import pytest
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import MASK, masked


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("credential", {"secret": "s"}, MASK),
        ("master", "zk://u:p@h:2181/m", "zk://u:" + MASK + "@h:2181/m"),
        ("master", "zk://u:p@ss/w@h/m", "zk://u:" + MASK + "@h/m"),
        ("master", "zk://h:2181/m", "zk://h:2181/m"),
        ("master", "zk://u:hun ter2@h", "zk://u:" + MASK + "@h"),
        ("master", "zk://u:hun\nter2@h", "zk://u:" + MASK + "@h"),
        ("master", "zk://u@home:p@h", "zk://u@home:" + MASK + "@h"),
        ("modules", {"a": ["x://u:p@h", 1]}, {"a": ["x://u:" + MASK + "@h", 1]}),
        (
            "modules",
            {"parameters": [{"key": "api_key", "value": "v"}]},
            {"parameters": [{"key": "api_key", "value": MASK}]},
        ),
        ("modules", {"parameters": [{"key": "file", "value": "v"}]}, {"parameters": [{"key": "file", "value": "v"}]}),
        ("modules", '[{"value": "v", "key": "PASSWORD"}]', '[{"key":"PASSWORD","value":"' + MASK + '"}]'),
        ("modules", '{"password": {"of": "v"}}', '{"password":"' + MASK + '"}'),
        ("modules", '{"password": "v"', MASK),
        ("modules", 'parameters {\n  key: "api_key"\n  value: "v"\n}\n', MASK),
        ("acls", "permissive: false\n", "permissive: false\n"),
        ("modules", "file:///etc/secret.json", "file:///etc/secret.json"),
        ("default_container_info", {"secret": {"value": {"data": "v"}}}, {"secret": MASK}),
        ("jwt_secret_key", "v", MASK),
        ("attributes", {"x://u:p@h": 1}, {"x://u:" + MASK + "@h": 1}),
        ("credentials", "of a misspelt flag", MASK),
        ("Credential", {"secret": "s"}, MASK),
        ("no-credential", "s", MASK),
        ("credentials", True, True),
        ("credential", True, MASK),
        ("credential", None, None),
    ],
)
def test_masked(name, value, shown):
    assert masked(name, value) == shown
