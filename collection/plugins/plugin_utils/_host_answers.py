# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer of each module of this collection may be. A host that answers anything else has failed, by name.

A host that somebody else is root on answers what they like: facts, which Ansible would put before the inventory; an
item without its id, a number that is none, which would end a page or a summary for all hosts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

Check = Callable[[object, str], None]

_LONGEST = 1 << 20  # characters of a text: more than any value that people look at
_DEEPEST = 20  # maps and lists in each other
_LARGEST = float(1 << 63)
_FOUND_BY_US = ("discovered_interpreter_", "ansible_discovered_interpreter_")


class AnswerError(Exception):
    """Which part of an answer is not what its module returns, and what is wrong with it."""


def text(value: object, at: str) -> None:
    """A text of bounded length."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise AnswerError(f"{at} is {_said(value)}, not a string")


def flag(value: object, at: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise AnswerError(f"{at} is {_said(value)}, neither true nor false")


def number(value: object, at: str) -> None:
    """A number that can be calculated with: finite, and no larger than a counter of the kernel's."""
    wrong = isinstance(value, bool) or not isinstance(value, (int, float))
    if wrong or not -_LARGEST <= value <= _LARGEST:  # nor not-a-number, which is on neither side
        raise AnswerError(f"{at} is {_said(value)}, not a number that can be")


def amount(value: object, at: str) -> None:
    """A number that is not below 0."""
    number(value, at)
    if value < 0:
        raise AnswerError(f"{at} is {_said(value)}, which is negative")


def whole(value: object, at: str) -> None:
    """A whole number."""
    number(value, at)
    if not isinstance(value, int):
        raise AnswerError(f"{at} is {_said(value)}, not a whole number")


def count(value: object, at: str) -> None:
    """A whole number that is not below 0."""
    whole(value, at)
    amount(value, at)


def anything(value: object, at: str, deep: int = 0) -> None:
    """Any JSON that is not too deep and has no number that cannot be calculated with."""
    if deep > _DEEPEST:
        raise AnswerError(f"{at} lies deeper than {_DEEPEST} maps and lists")
    if isinstance(value, Mapping):
        for key, item in value.items():
            text(key, f"a key of {at}")
            anything(item, f"{at}.{_short(key)}", deep + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            anything(item, f"{at}[{index}]", deep + 1)
    elif isinstance(value, str):
        text(value, at)
    elif value is not None and not isinstance(value, bool):
        number(value, at)


def maybe(check: Check) -> Check:
    """The same, or null."""
    return lambda value, at: None if value is None else check(value, at)


def each(check: Check) -> Check:
    """A list of such."""

    def check_all(value: object, at: str) -> None:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise AnswerError(f"{at} is {_said(value)}, not a list")
        for index, item in enumerate(value):
            check(item, f"{at}[{index}]")

    return check_all


def table(check: Check) -> Check:
    """A map of texts to such."""

    def check_all(value: object, at: str) -> None:
        if not isinstance(value, Mapping):
            raise AnswerError(f"{at} is {_said(value)}, not a map")
        for key, item in value.items():
            text(key, f"a key of {at}")
            check(item, f"{at}.{_short(key)}")

    return check_all


def shape(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """A map with these keys and no others."""
    known = {**required, **(optional or {})}

    def check_all(value: object, at: str) -> None:
        if not isinstance(value, Mapping):
            raise AnswerError(f"{at or 'it'} is {_said(value)}, not a map")
        for key, item in value.items():
            where = f"{at}.{_short(key)}" if at else _short(key)
            if key not in known:
                raise AnswerError(f"{where} is not part of it")
            known[key](item, where)
        missing = [key for key in required if key not in value]
        if missing:
            raise AnswerError(f"{at + ' has' if at else 'it has'} no {missing[0]}")

    return check_all


def one_of(names: Iterable[str]) -> Check:
    """One of these texts."""

    def check_name(value: object, at: str) -> None:
        if value not in names:
            raise AnswerError(f"{at} is {_said(value)}, which it cannot be")

    return check_name


def shown(_value: object, _at: str) -> None:
    """What Ansible itself has made of an answer, to be shown and no more."""


_CHANGES = each(shape({"name": text, "before": anything, "after": anything, "effect": text}))
_PROCESSES = table(shape({"pid": whole, "start_time": whole}))
_PLACE = shape({}, {"generation": maybe(whole), "release": maybe(text)})
_FLAGS = {"changed_flags": _CHANGES, "restart_required": flag, "foreign_files": each(text)}
_SWITCH = {
    "actions": each(text),
    "generation": maybe(whole),
    "before": _PLACE,
    "after": _PLACE,
    "restarted": flag,
    "agent_id": maybe(text),
    "same_agent": flag,
    "containers": _PROCESSES,
    "lost_containers": each(text),
}

# An operator makes an inventory of these: no other variable can come from a host.
_ADOPTED: dict[str, Check] = {
    **dict.fromkeys(("mesos_agent_flags_dir", "mesos_agent_service"), text),
    **dict.fromkeys(
        ("mesos_shim_prefix", "mesos_shim_python", "mesos_shim_helpers_dir", "mesos_shim_metrics_dir"), text
    ),
    **dict.fromkeys(("mesos_agent_drop_in", "mesos_shim_gc_timer"), flag),
    **dict.fromkeys(("mesos_agent_flags", "mesos_agent_attributes", "mesos_agent_resources"), table(anything)),
    **dict.fromkeys(("mesos_agent_default_container_info", "mesos_shim_config"), table(anything)),
}

_CLAIM = shape(
    {
        **dict.fromkeys(("id", "user", "host", "boot", "namespace", "name"), text),
        **dict.fromkeys(("pid", "start", "began"), count),
    },
    {"ended": anything},
)

# Of each module: what an answer that is no failure has, and what it may have besides.
ANSWERS: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "agent_adopt_info": (
        {
            "path": text,
            "variables": shape({}, _ADOPTED),
            "open": each(shape({"variable": one_of(_ADOPTED), "key": maybe(text), "why": text})),
            "notes": each(text),
        },
        {},
    ),
    "agent_claim_release": ({}, {"released": maybe(text)}),
    "agent_drain": (
        {"machine": shape({"hostname": text, "ip": text})},
        {"ours": flag, "containers": each(text)},
    ),
    "agent_flags": (_FLAGS, {}),
    "agent_flags_info": (
        {"exists": flag, "flags": table(anything), "contradictions": each(text), "foreign_files": each(text)},
        {},
    ),
    "agent_gate": (
        {"problems": each(text), "waited": amount, "probe": text},
        {
            "agent_id": maybe(text),
            "version": maybe(text),
            "containers": whole,
            "running": _PROCESSES,
            "probe_note": text,
        },
    ),
    "agent_generation": (
        {},
        {
            **_FLAGS,
            **_SWITCH,
            "closed_paths": each(text),
            "writable_paths": each(text),
            "changed_config": each(text),
            "pending": flag,
        },
    ),
    "agent_generation_confirm": ({}, {"generation": maybe(whole)}),
    "agent_generation_restore": (
        {},
        {
            **_SWITCH,
            "drained": flag,
            **dict.fromkeys(("already", "change", "service"), maybe(text)),
            "flags_path": text,
        },
    ),
    "agent_preflight_info": (
        {
            **_FLAGS,
            "path": text,
            "drained": flag,
            "running": flag,
            "new_identity": flag,
            "agent_versions": each(text),
            "limits": each(text),
            "problems": each(text),
        },
        {},
    ),
    "container_usage_info": (
        {
            "containers": each(
                shape(
                    {"container_id": text, "statistics": table(amount)},
                    {
                        "executor_id": maybe(text),
                        "framework_id": maybe(text),
                        "pid": whole,
                        "mode": text,
                        "isolation": each(text),
                        "volumes": each(table(anything)),
                    },
                )
            )
        },
        {"without_shim": each(text)},
    ),
    "shim_host_info": (
        {
            "release": maybe(text),
            "generation": maybe(whole),
            "change": maybe(text),
            "cpus": maybe(amount),
            "memory": maybe(amount),
            "findings": each(shape({"check": text, "state": text, "message": text}, {"remedy": maybe(text)})),
            "doctor_error": text,
        },
        {},
    ),
    "shim_release": (
        {"release": text, "previous": maybe(text), "actions": each(text), "damage": each(text)},
        {
            **dict.fromkeys(("program", "launcher_dir", "config_path", "python"), text),
            **dict.fromkeys(("timers_differ", "claimed"), flag),
        },
    ),
    "shim_uninstall": (
        {},
        {"actions": each(text), "before": _PLACE, "after": _PLACE, "restarted": flag, "lost_containers": each(text)},
    ),
    "shim_timers": ({"units": each(text), "started": each(text), "supported": flag}, {}),
}
# What a host says that is to be sent a release first.
NEEDED: tuple[dict[str, Check], dict[str, Check]] = ({"archive_needed": text}, {})

_OF_ANY = {
    "changed": flag,
    "failed": flag,
    "unreachable": flag,
    "skipped": flag,
    "msg": text,
    "rc": whole,
    "diff": anything,
    # A run's claim, which the controller's half takes out (plugin_utils/_claims.py).
    "claimed_by": _CLAIM,
    "took_over": maybe(_CLAIM),
    "module_stdout": text,
    "module_stderr": text,
    # AnsibleModule adds them to an answer that has a path.
    **dict.fromkeys(("uid", "gid", "owner", "group", "mode", "state", "size", "secontext"), anything),
    **dict.fromkeys(("warnings", "deprecations", "exception", "invocation"), shown),
}


def wrong(module: str, answer: Mapping[str, object], needed: bool = False) -> str:
    """What in an answer is none of that module's, and why; empty where it is one.

    needed: a host may say that it first needs the archive.
    """
    required, optional = NEEDED if needed and "archive_needed" in answer else ANSWERS[module]
    if answer.get("failed") is True:
        required, optional = {}, {**required, **optional}
    said = {key: value for key, value in answer.items() if not _ours(str(key), value)}
    try:
        shape(required, {**_OF_ANY, **optional})(said, "")
    except AnswerError as error:
        return str(error)
    return ""


def _ours(key: str, value: object) -> bool:
    """Whether the controller itself has added it: the host's own of these names are gone before."""
    if key == "ansible_facts" and isinstance(value, Mapping):
        return all(str(name).startswith(_FOUND_BY_US) for name in value)
    return key.startswith("_ansible_")


def _short(key: object) -> str:
    """A key that may be none of ours."""
    return str(key) if len(str(key)) <= 60 else str(key)[:57] + "..."


def _said(value: object) -> str:
    """A strange value, short."""
    said = repr(value)[:1000]
    return said if len(said) <= 60 else said[:57] + "..."
