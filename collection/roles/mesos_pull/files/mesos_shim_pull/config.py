# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What the role has written for this host."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields

from .text import NAME, PullError

_WAVE = re.compile(r"[1-9][0-9]{0,8}%?\Z")
_KINDS = {"str": str, "int": int, "bool": bool, "tuple[str, ...]": list}  # of JSON


@dataclass(frozen=True)
class Config:
    """What the role has written; a key that is missing or unknown is refused."""

    name: str  # of this host, in the inventory
    zookeeper: str  # zk://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][/PATH], as an agent's --master
    url: str  # of the git repository
    version: str  # branch or tag
    directory: str  # for the checkout
    inventory: str  # path inside the checkout
    playbook: str  # name in a collection, or path inside the checkout
    program: str  # path of ansible-playbook
    waves: tuple[str, ...]  # hosts in each wave, as Ansible's serial; the last one repeats
    places: int  # hosts between the start and the end of the playbook at a time
    canary: bool  # whether this host goes first
    seconds: int  # bound of the playbook


def read_config(path: str) -> Config:
    """The configuration; raises PullError."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        config = Config(**{**found, "waves": tuple(map(str, found["waves"]))})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PullError(f"{path}: {error}; write it by the role mesos_pull") from None
    for field in fields(Config):
        value = found[field.name]
        kind = _KINDS[str(field.type)]
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):  # True is an int as well
            raise PullError(f"{path}: {field.name}: {value!r} is not of type {field.type}")
    if not NAME.match(config.name):
        raise PullError(f"{path}: name: {config.name!r} is not the name of a host")
    if not config.waves or not all(map(_WAVE.match, config.waves)):
        raise PullError(f"{path}: waves: {found['waves']!r}: give numbers from 1 and percentages from 1%")
    for key in ("places", "seconds"):
        if found[key] < 1:
            raise PullError(f"{path}: {key}: {found[key]!r}: give 1 or more")
    return config
