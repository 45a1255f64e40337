# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of an inventory, of what hosts were found to be."""

from __future__ import annotations

DOCUMENTATION = r"""
name: adopted_inventory
short_description: Files of an inventory that would change nothing on the hosts that were read
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Makes files of what M(mesos.containerizer.agent_adopt_info) returned for each host, one in C(host_vars) for each.
  - A variable that is the same on all hosts of the group is in C(group_vars) instead, if each of them was read.
  - What is left open fails as soon as a play uses it, and says what is to be filled in.
  - Every text is quoted. One that Ansible would take for a template is C(!unsafe).
positional: group
options:
  _input:
    description: The name of each host with what the module returned.
    type: dict
    required: true
  group:
    description: The names of all hosts of the group C(mesos_agents).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the files
  ansible.builtin.debug:
    msg: "{{ {inventory_hostname: adopted} | mesos.containerizer.adopted_inventory(groups.mesos_agents) }}"
"""

RETURN = r"""
_value:
  description: The text of each file, by its name.
  type: dict
  sample: {host_vars/agent-1.yml: "mesos_agent_service: \"mesos-slave\"\n"}
"""

import math
import re

import yaml
from ansible.utils.unsafe_proxy import wrap_var

_GROUP = "mesos_agents"
_PLAIN_KEY = re.compile(r"[a-z][a-z0-9_]*\Z")
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
_TEMPLATE = re.compile(r"\{[{%#]")
_HEAD = """\
---
# {whose} as mesos.containerizer.adopt found {it}. A rollout with this inventory changes no flag of the agent.
"""
_UNUSED = """\
# The shim would be installed and not used. To use it, take out launcher_dir, and mesos_agent_drop_in where it is there.
"""


class _Key(str):
    """The key of a map."""


class _Open(str):
    """Why a value is left open."""


class _Dumper(yaml.SafeDumper):
    """Quotes what is text, whatever it looks like; ASCII alone, so that nothing hides."""

    def ignore_aliases(self, _data):
        return True


def _text(dumper, value):
    tag = "!unsafe" if _TEMPLATE.search(value) else "tag:yaml.org,2002:str"
    return dumper.represent_scalar(tag, str(value), style='"')


def _key(dumper, value):
    plain = _PLAIN_KEY.match(value) and value not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style=None if plain else '"')


def _open(dumper, value):
    # Between the quotes of a template's text, so without what would end it.
    hint = re.sub(r"[\"'\\{}%#]", "?", _printable(value))
    return dumper.represent_scalar("tag:yaml.org,2002:str", "{{ undef(hint='%s') }}" % hint, style='"')


_Dumper.add_representer(str, _text)
_Dumper.add_representer(_Key, _key)
_Dumper.add_representer(_Open, _open)


def _plain(value):
    """The value without what Ansible has tagged it with."""
    if isinstance(value, dict):
        return {_Key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, _Open)):
        return value
    return str.__str__(value) if isinstance(value, str) else int(value) if isinstance(value, int) else float(value)


def _printable(text):
    """A text on one line of ASCII."""
    return text.encode("unicode_escape").decode("ascii")


def _with_open(result):
    """The variables of a host, with what is left open in its place."""
    variables = dict(result["variables"])
    for item in result["open"]:
        if item["key"] is None:
            variables[item["variable"]] = _Open(item["why"])
        else:
            own = dict(variables.get(item["variable"]) or {})
            variables[item["variable"]] = {**own, item["key"]: _Open(item["why"])}
    return variables


def _common(variables, group):
    """The variables that all hosts of the group have alike; none where one was not read."""
    hosts = list(variables.values())
    if len(hosts) < 2 or set(group) - set(variables):
        return {}
    first = hosts[0]
    return {name: value for name, value in first.items() if all(_same(value, host.get(name)) for host in hosts)}


def _same(one, other):
    """Equal, and of one kind: 1 is not true. A value that is left open may be another one on each host."""
    if isinstance(one, _Open) or type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def _file(whose, it, variables, lines):
    text = _HEAD.format(whose=_printable(whose), it=it)
    flags = variables.get("mesos_agent_flags")
    if isinstance(flags, dict) and flags.get("launcher_dir", "") is None:
        text += _UNUSED
    text += "".join("# - %s\n" % _printable(line) for line in lines)
    if variables:
        text += yaml.dump(_plain(variables), Dumper=_Dumper, sort_keys=True, width=math.inf, default_flow_style=False)
    return wrap_var(text)


def adopted_inventory(results, group):
    """The files, by their names."""
    plain = {str(host): _as_read(_with_open(result)) for host, result in results.items()}
    common = _common(plain, [str(host) for host in group])
    files = {"group_vars/%s.yml" % _GROUP: _file("All hosts", "them", common, [])} if common else {}
    for host, variables in plain.items():
        own = {name: value for name, value in variables.items() if name not in common}
        left_open = ["to be filled in: %s" % item["why"] for item in results[host]["open"]]
        files["host_vars/%s.yml" % host] = _file(host, "it", own, left_open + list(results[host]["notes"]))
    return files


def _as_read(value):
    """The same with nothing but Python's own types and _Open, so that they can be compared."""
    if isinstance(value, dict):
        return {str.__str__(key): _as_read(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_read(item) for item in value]
    return _plain(value)


class FilterModule:
    """The filter mesos.containerizer.adopted_inventory."""

    def filters(self):
        return {"adopted_inventory": adopted_inventory}
