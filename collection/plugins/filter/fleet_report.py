# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What playbook report has seen of each host, checked and counted; the page only shows it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_report
short_description: What was seen of a fleet, checked and counted
version_added: 0.2.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Makes one structure of what the playbook C(mesos.containerizer.report) has registered for each host.
positional: hostvars, inventory
options:
  _input:
    description: Names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts.
    type: dict
    required: true
  inventory:
    description: Where the inventory is, as commands that are offered name it; C(ansible_inventory_sources).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Write the page
  ansible.builtin.template:
    src: report.html.j2
    dest: report.html
    mode: "0644"
  vars:
    fleet: "{{ groups.mesos_agents | mesos.containerizer.fleet_report(hostvars, ansible_inventory_sources) }}"
"""

RETURN = r"""
_value:
  description: The fleet; C(attention) lists what needs a person, worst first, what is the same on many hosts once.
  type: dict
"""

import re
import shlex
import time

# Worst first: a host that cannot be seen, a container without isolation, a difference, a weakness.
LEVELS = ("unreachable", "broken", "usage-only", "drift", "full", "degraded")
FULL = 0.9
SHORTEST = 0.001  # seconds between two looks of which one can be compared with the other
_WITHOUT_SHIM = "without the shim"
_STARTED_BEFORE = "It was started before the shim came, or by another launcher_dir: start it again."
# So many names are read at a glance.
NAMES = 4
# What a person can paste where the report was run, by level: with the inventory's options and the hosts' names.
COMMANDS = {
    "unreachable": "ansible%s %s -m ansible.builtin.ping",
    "broken": "ansible-playbook%s mesos.containerizer.verify --limit %s",
    "drift": "ansible-playbook%s mesos.containerizer.site --limit %s --check --diff",
}


def fleet_report(names, hostvars, inventory=()):
    """The hosts with all that the page shows."""
    hosts = [_host(str(name), hostvars[name]) for name in names]
    attention = _together(hosts)
    options = "".join(" -i " + shlex.quote(str(source)) for source in inventory)
    for item in attention:
        whom = shlex.quote(",".join(_pattern(host["name"]) for host in item["hosts"]))
        item["command"] = COMMANDS[item["kind"]] % (options, whom) if item["kind"] in COMMANDS else ""
        shown = [host["name"] for host in item["hosts"]]
        item["line"] = "%s: %s" % (_listed(shown), item["text"])
    containers = [container for host in hosts for container in host["containers"]]
    return {
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "hosts": hosts,
        "attention": attention,
        "releases": _counted(hosts, "release"),
        "changes": _counted(hosts, "change"),
        "flags": _differing(hosts),
        "reachable": sum(host["reachable"] for host in hosts),
        "as_wanted": sum(host["state"] == "ok" for host in hosts),
        "containers": len(containers),
        "enforced": sum(container["mode"] == "enforced" for container in containers),
    }


def _pattern(name):
    """What means this host and no other where Ansible reads patterns: names with a comma, a colon or a star do not."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        return name
    # No character that a list of patterns is divided by.
    return "~^%s$" % "".join(c if re.match(r"[A-Za-z0-9_]", c) else "\\U%08x" % ord(c) for c in name)


def _together(hosts):
    """What needs a person, worst first; what is the same on several hosts is one item with all of them."""
    found = {}
    for host in hosts:
        for item in host["attention"]:
            key = (item["level"], item["kind"], item["text"], item["remedy"])
            found.setdefault(key, dict(item, hosts=[]))["hosts"].append(
                {"name": host["name"], "anchor": host["anchor"]}
            )
    return sorted(
        found.values(), key=lambda item: (LEVELS.index(item["level"]), -len(item["hosts"]), item["hosts"][0]["name"])
    )


def _listed(names):
    """Some names in words: all of a few, else the first and how many more."""
    if len(names) > NAMES:
        return "%s and %d more" % (", ".join(names[: NAMES - 1]), len(names) - NAMES + 1)
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def _counted(hosts, key):
    """How many hosts have each value, the most frequent first."""
    counts = {}
    for host in hosts:
        if host["reachable"]:
            counts[host[key] or "none"] = counts.get(host[key] or "none", 0) + 1
    found = [{"name": name, "hosts": count} for name, count in counts.items()]
    return sorted(found, key=lambda row: (-row["hosts"], row["name"]))


def _host(name, known):
    host = {
        "name": name,
        "anchor": "host-" + "".join(c if c.isalnum() and c.isascii() else "-%x-" % ord(c) for c in name),
        "reachable": _reachable(known),
        "release": None,
        "generation": None,
        "change": None,
        "drift": [str(item) for item in known.get("mesos_agent_drift") or []],
        "error": " ".join(str(known.get("mesos_report_error") or "").split()),
        "flags": {},
        "containers": [],
        "doctor": [],
        "cpus": None,
        "memory": None,
    }
    if host["reachable"]:
        _fill(host, known)
    host["attention"] = _attention(host)
    levels = [item["level"] for item in host["attention"]]
    host["state"] = min(levels, key=LEVELS.index) if levels else "ok"
    host["cpu_used"] = sum(container["cpu"] or 0 for container in host["containers"])
    host["memory_used"] = sum(container["memory"] or 0 for container in host["containers"])
    return host


def _reachable(known):
    """Whether the host was there from the first look to the last: one that goes in between leaves the play."""
    looks = [known.get("mesos_report_host"), known.get("mesos_report_flags")]
    return all(look and not look.get("unreachable") for look in looks) and not looks[0].get("timedout")


def _fill(host, known):
    seen = known["mesos_report_host"]
    if seen.get("failed"):
        _unknown(host, "host", seen.get("msg"))
    elif seen["doctor_error"]:
        # Who cannot say how he is, is not well.
        _unknown(host, "doctor", seen["doctor_error"])
    host["release"], host["doctor"] = seen.get("release"), seen.get("findings") or []
    host["generation"], host["change"] = seen.get("generation"), seen.get("change")
    host["cpus"], host["memory"] = seen.get("cpus"), seen.get("memory")
    read = known["mesos_report_flags"]
    if read.get("failed"):
        _unknown(host, "flags", read.get("msg"))
    flags = read.get("flags") or {}
    host["flags"] = {str(flag): _value(value) for flag, value in sorted(flags.items())}
    before = {item["container_id"]: item for item in (known.get("mesos_report_before") or {}).get("containers") or []}
    after = known.get("mesos_report_after") or {}
    for item in after.get("containers") or []:
        host["containers"].append(_container(item, before.get(item["container_id"]), host))
    for name in after.get("without_shim") or []:  # the agent runs it, and the shim has not started it
        host["containers"].append(_container({"container_id": name, "mode": _WITHOUT_SHIM}, None, host))
    host["containers"].sort(key=lambda container: (-(container["cpu"] or 0), container["id"]))
    if after.get("failed"):
        _unknown(host, "usage", after.get("msg"))


def _unknown(host, what, why):
    """The first thing that could not be asked, unless there is an error already."""
    host["error"] = host["error"] or " ".join(("%s: %s" % (what, why or "no readable answer")).split())


def _value(value):
    if isinstance(value, dict):
        return "; ".join("%s:%s" % (key, value[key]) for key in sorted(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _container(item, before, host):
    known = item.get("statistics") or {}
    cpu = _rate(known, (before or {}).get("statistics") or {})
    cpu_limit = known.get("cpus_limit")
    memory = known.get("mem_total_bytes", known.get("mem_rss_bytes"))
    memory_limit = known.get("mem_limit_bytes")
    return {
        "id": str(item["container_id"]),
        "executor": str(item.get("executor_id") or ""),
        "framework": str(item.get("framework_id") or ""),
        "mode": str(item.get("mode") or "unknown"),
        "isolation": [str(name) for name in item.get("isolation") or []],
        "volumes": item.get("volumes") or [],
        "processes": known.get("processes"),
        "cpu": cpu,
        "cpu_limit": cpu_limit,
        "cpu_share": _share(cpu, cpu_limit or host["cpus"]),
        "memory": memory,
        "memory_limit": memory_limit,
        "memory_share": _share(memory, memory_limit or host["memory"]),
        "disk": known.get("disk_used_bytes"),
    }


def _rate(after, before):
    """CPUs in use between the two looks, None where there was only one."""
    passed = after.get("timestamp", 0) - before.get("timestamp", after.get("timestamp", 0))
    if passed < SHORTEST or "cpus_user_time_secs" not in after or "cpus_user_time_secs" not in before:
        return None
    spent = sum(after.get(name, 0) - before.get(name, 0) for name in ("cpus_user_time_secs", "cpus_system_time_secs"))
    return max(0.0, spent / passed)


def _share(used, whole):
    if used is None or not whole:
        return None
    return min(1.0, used / whole)


def _attention(host):
    if not host["reachable"]:
        return [_item("unreachable", "cannot be reached", "Does SSH answer?")]
    found = []
    if host["error"]:
        found.append(_item("broken", host["error"], "Compare the host with the inventory:"))
    if host["drift"]:
        text = "not as the inventory says: " + "; ".join(host["drift"])
        found.append(_item("drift", text, "Show what would change (without --check --diff, change it):"))
    found += _unisolated(host["containers"])
    for container in host["containers"]:
        if container["memory_limit"] and (container["memory_share"] or 0) >= FULL:
            text = "%s uses %d%% of its memory limit" % (_name(container), round(100 * container["memory_share"]))
            found.append(_item("full", text, "Raise the limit, or find out what uses the memory."))
    for finding in host["doctor"]:
        if finding.get("state") in ("broken", "degraded"):
            text = "%s: %s" % (finding.get("check"), finding.get("message"))
            remedy = "On the host: %s" % finding["remedy"] if finding.get("remedy") else ""
            found.append(_item(finding["state"], text, remedy, kind="doctor"))
    return found


def _item(level, text, remedy, kind=None):
    return {"level": level, "kind": kind or level, "text": text, "remedy": remedy}


def _unisolated(containers):
    """One item for each mode that is not the wanted one, however many containers run in it."""
    modes = {}
    for container in containers:
        if container["mode"] != "enforced":
            modes.setdefault(container["mode"], []).append(_name(container))
    found = []
    for mode, names in sorted(modes.items()):
        runs = "runs" if len(names) == 1 else "run"
        text = "%s %s without isolation (%s)" % (_listed(sorted(names)), runs, mode)
        remedy = "Find out why on_unenforceable is usage-only." if mode != _WITHOUT_SHIM else _STARTED_BEFORE
        found.append(_item("usage-only", text, remedy))
    return found


def _name(container):
    return container["executor"] or container["id"]


def _differing(hosts):
    """Flags whose values differ between hosts, each value with its hosts, the most frequent first."""
    seen = [host for host in hosts if host["reachable"] and host["flags"]]
    result = []
    for flag in sorted({flag for host in seen for flag in host["flags"]}):
        values = {}
        for host in seen:
            values.setdefault(host["flags"].get(flag), []).append(host["name"])
        if len(values) > 1:
            rows = [{"value": value, "hosts": names} for value, names in values.items()]
            result.append(
                {"flag": flag, "values": sorted(rows, key=lambda row: (-len(row["hosts"]), row["value"] or ""))}
            )
    return result


class FilterModule:
    """The filter mesos.containerizer.fleet_report."""

    def filters(self):
        return {"fleet_report": fleet_report}
