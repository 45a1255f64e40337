# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Attributes and resources: each text was given to an agent of 1.11.0, which took it or ended."""

from __future__ import annotations

import pytest
from ansible_collections.mesos.containerizer.plugins.module_utils import _flag_grammar as flag_grammar


def scalar(value, **more):
    return {"name": "cpus", "type": "SCALAR", "scalar": {"value": value}, **more}


def ranges(*found, **more):
    return {"name": "p", "type": "RANGES", "ranges": {"range": [{"begin": a, "end": b} for a, b in found]}, **more}


def items(*found):
    return {"name": "p", "type": "SET", "set": {"item": list(found)}}


@pytest.mark.parametrize(
    "text",
    [
        *("rack:a", "rack:a;", "rack:a;;zone:b", "rack:a\nzone:b", "rack : a b", "a b:c", ";", "rack:a:b"),
        *("rack:[1-2]", "rack:[]", "rack:[2-1]", "rack:[1,2]", "rack: [1-2]", "rack:[0x1-0x2]", "rack:[+1-2]"),
        *("rack:-0", "rack:+5", "rack:1e400", "rack:(a)", "rack:0x10", "rack:nano", "rack:-x"),
    ],
)
def test_attributes_that_an_agent_takes(text):
    flag_grammar.check_attributes(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rack:{a,b}", "cannot be a set"),
        ("rack:[abc]", "a first and a last number"),
        ("rack:[1]", "a first and a last number"),
        ("rack:[1-2]x", "a first and a last number"),
        ("rack:[1-99999999999999999999]", "whole numbers"),
        ("rack:[a-b]", "whole numbers"),
        (":a", "not key:value"),
        ("rack:", "not key:value"),
        ("a:b;rack", "not key:value"),
        ("rack: ;a:b", "it is empty"),
        ("rack:-1", "negative"),
        *(
            (f"rack:{text}", "reads it as a number, but it is not one")
            for text in ("inf", "-inf", "infinity", "nan", "NaN(1)")
        ),
        ("rack:1e-320", "too small"),
        ("rack:a[1]", "only be its first"),
        ("rack:x{a}", "only be its first"),
        ("rack:(a", "do not match"),
        ("rack:a)(", "do not match"),
    ],
)
def test_attributes_that_an_agent_ends_over(text, says):
    with pytest.raises(ValueError, match=says):
        flag_grammar.check_attributes(text)


@pytest.mark.parametrize(
    "text",
    [
        *("cpus:4", "cpus:4;", "cpus:4; mem:1024", "cpus:4;\nmem:1024", "cpus::4", ":cpus:4", "cpus:1;cpus:2"),
        *("cpus:0", "cpus:0.0005", "cpus:+4", "x:1.", "x:.5", "x:1e3", "", ";"),
        *("ports:[31000,32000]", "ports:[1-5,3-8]", "ports:[1-2-3-4]", "ports:[]", "ports:[1-5\n,7-8]", "x:[0x1-0x2]"),
        *("x:{}", "x:{a,{b}}", "cpus(*):4", "cpus(a/b):4", "cpus( a ):4", "cpus(prod)x:4", "cpus):4"),
    ],
)
def test_resources_that_an_agent_takes(text):
    flag_grammar.check_resources(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x", "not key:value"),
        ("x: ", "it is empty"),
        ("x:1:2", "not key:value"),
        ("cpus:4; ;mem:5", "not key:value"),
        ("cpus:4\nmem:5", "not key:value"),
        ("cpus:4\n;mem:5", "a text is no resource"),
        *((f"x:{text}", "a text is no resource") for text in ("abc", "1_000", "1e", "0x10")),
        ("cpus:-1", "negative"),
        ("cpus:nan", "reads it as a number, but it is not one"),
        ("cpus:1e-310", "too small"),
        ("cpus:0.0001", "thousandths"),
        ("cpus:1e300", "thousandths"),
        ("ports:[32000-31000]", "after its end"),
        ("ports:[31000]", "a first and a last number"),
        ("x:{a,a}", "each item once"),
        ("x:[1-2];x(prod):5", "one kind of a name"),
        ("(prod):4", "the name is empty"),
        *((f"cpus({role}):4", "no name of a role") for role in ("", "/a", "a/", "a b", "-a", "a/../b", "a/*")),
        ("cpus(prod:4", "do not match"),
        ("cpus)prod(:4", "do not match"),
    ],
)
def test_resources_that_an_agent_refuses(text, says):
    with pytest.raises(ValueError, match=says):
        flag_grammar.check_resources(text)


@pytest.mark.parametrize("text", ["cpus:[1-2]", "mem:{a}", "ports:5"])
def test_resources_that_an_agent_takes_and_cannot_offer(text):
    with pytest.raises(ValueError, match="the agent would offer none"):
        flag_grammar.check_resources(text)


@pytest.mark.parametrize(
    "found",
    [
        [],
        [scalar(4)],
        [scalar("4")],
        [scalar(4, unknown=1)],
        [scalar(4, role="prod")],
        [scalar(4, revocable=None)],
        [scalar(4, reservations=[{"type": "STATIC", "role": "a"}])],
        [ranges((1, 2)), scalar(1)],
        [ranges()],
        [items("a", "b")],
    ],
)
def test_a_list_that_an_agent_takes(found):
    flag_grammar.check_resource_list(found)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ("cpus:4", "is not a map"),
        ({"name": "cpus", "scalar": {"value": 4}}, "no type"),
        (scalar(4, type="scalar"), "no type"),
        (scalar(4, type=0), "no type"),
        (scalar(4, name=""), "no name"),
        (scalar(4, name=None), "no name"),
        ({"name": "cpus", "type": "SCALAR"}, "a map scalar"),
        ({"name": "cpus", "type": "SCALAR", "scalar": 4}, "a map scalar"),
        ({"name": "cpus", "type": "SCALAR", "scalar": {}}, "another form"),
        (scalar(4, set={"item": []}), "no other value"),
        (scalar(-4), "thousandths"),
        (scalar(0.0001), "thousandths"),
        (ranges((3, 2)), "after its end"),
        (ranges((1, 5), (3, 8)), "overlap"),
        ({**ranges(), "ranges": {"range": [{"begin": 1}]}}, "another form"),
        ({**ranges(), "ranges": [{"begin": 1, "end": 2}]}, "a map ranges"),
        (items("a", "a"), "each item once"),
        ({"name": "p", "type": "TEXT", "text": {"value": "a"}}, "no type"),
        (scalar(4, revocable={}), "no flag can say"),
        (scalar(4, reservations=[{"type": "DYNAMIC", "role": "a"}]), "no flag can say"),
        (scalar(4, name="disk", disk={"persistence": {"id": "x"}}), "no flag can say"),
    ],
)
def test_a_list_that_an_agent_refuses(found, says):
    with pytest.raises(ValueError, match=f"resource 2 of the list.*{says}"):
        flag_grammar.check_resource_list([scalar(1), found])


def test_a_list_has_one_kind_of_a_name():
    with pytest.raises(ValueError, match="one kind of a name"):
        flag_grammar.check_resource_list([scalar(1), {**items("a"), "name": "cpus"}])
