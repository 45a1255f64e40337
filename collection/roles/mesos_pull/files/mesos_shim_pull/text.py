# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Names and texts of other hosts, and the one exception."""

from __future__ import annotations

import re

COMMIT = re.compile(r"[0-9a-f]{40,64}\Z")
# What may stand in a path of ZooKeeper, in a pattern of hosts and on a line of a log as it is.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")
REASON_LENGTH = 300


class PullError(Exception):
    """Why this run cannot do anything, in one line."""


def one_line(text: str) -> str:
    """The text without what a terminal or a log would obey, and not longer than a line may be."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(plain.split())[:REASON_LENGTH]
