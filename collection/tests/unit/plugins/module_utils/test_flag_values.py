# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""From an inventory's value to a flag file, on every Python of hosts."""

from __future__ import annotations

import pytest
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import (
    FlagError,
    Setting,
    canonical,
    effective,
    same,
    wanted_settings,
)


@pytest.mark.parametrize(
    ("name", "value", "setting", "argument"),
    [
        ("switch_user", True, ("bool", True), "true"),
        ("strict", "0", ("bool", False), "false"),
        ("port", 5051, ("file", "5051"), "5051"),
        ("gc_delay", "1.5weeks\n", ("file", "1.5weeks"), "1.5weeks"),
        ("attributes", {"b": 1, "a": True}, ("directory", {"a": "true", "b": "1"}), "a:true;b:1"),
        ("attributes", "a:1; b:2 ;\n", ("file", "a:1; b:2 ;"), None),
        ("ip_discovery_command", "hostname -i |\nhead -1", ("file", "hostname -i |\nhead -1"), None),
        ("jwt_secret_key", "file:///etc/mesos-key", ("file", "file:///etc/mesos-key"), None),
        ("resources", "file:///etc/resources", ("file", "file:///etc/resources"), None),
        ("default_container_info", {"volumes": [], "type": "MESOS"}, ("file", '{"type":"MESOS","volumes":[]}'), None),
    ],
)
def test_a_value_as_the_agent_gets_it(name, value, setting, argument):
    found = wanted_settings({name: value}, FLAGS)[name]
    assert tuple(found) == setting
    assert effective(found) == (argument or setting[1])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"isolatoin": "x"}, "did you mean isolation?"),
        ({"?no-strict": "", "strict": True}, "is set and negated"),
        ({"port": 65536}, "65536 is not a port"),
        ({"gc_delay": "1 week"}, '"1 week" is not'),
        ({"switch_user": "maybe"}, "is not a boolean"),
        ({"hostname": "a\0b"}, "NUL"),
        ({"default_container_info": '{"a": 1, "a": 2}'}, "occurs twice"),
        ({"default_container_info": {"a": float("nan")}}, "not JSON"),
    ],
)
def test_what_is_wrong_is_named(flags, says):
    with pytest.raises(FlagError, match="flag ") as refused:
        wanted_settings(flags, FLAGS)
    assert says in str(refused.value)


def test_every_wrong_flag_is_named_at_once():
    with pytest.raises(FlagError) as refused:
        wanted_settings({"prot": 1, "isolatoin": "x", "strict": True}, FLAGS)
    assert "prot" in str(refused.value) and "isolatoin" in str(refused.value) and "strict" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "before", "after", "equal"),
    [
        ("attributes", Setting("file", "b:2;a:1"), Setting("directory", {"a": "1", "b": "2"}), True),
        ("attributes", Setting("file", "b:2;\na:1;"), Setting("directory", {"a": "1", "b": "2"}), True),
        ("attributes", Setting("file", "a:1"), Setting("directory", {"a": "2"}), False),
        ("resources", Setting("file", '[{"a": 1}]'), Setting("file", '[{"a":1}]'), True),
        ("strict", Setting("file", "1"), Setting("bool", True), True),
        ("strict", Setting("file", "perhaps"), Setting("file", "maybe"), False),
        ("strict", None, Setting("bool", True), False),
    ],
)
def test_two_ways_of_writing_the_same(name, before, after, equal):
    assert same(FLAGS[name], before, after) is equal


def test_canonical_json():
    assert canonical({"b": [1, 2.5], "a": "ü"}) == '{"a":"ü","b":[1,2.5]}'
