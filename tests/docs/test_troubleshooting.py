"""docs/troubleshooting.md lists every message of the shim, and none that is not one."""

from __future__ import annotations

import re

import pytest

from tests.docs import messages
from tests.lib.shim import CHECKOUT

PAGE = CHECKOUT / "docs/troubleshooting.md"
# A pattern of values alone would match anything.
LEAST_LETTERS = 6


def rows() -> dict[str, str]:
    """Each pattern of the tables with its remedy."""
    found: dict[str, str] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 2 or not cells[0].startswith("`"):
            continue
        for pattern in re.findall(r"`([^`]+)`", cells[0]):
            assert pattern not in found, f"twice: {pattern}"
            found[pattern.replace("\\|", "|")] = cells[1]
    return found


def covers(pattern: str, text: str) -> bool:
    """Whether the page's pattern describes the message; a fragment may have a value before it in the page."""
    for prefix in ("mesos-shim: warning: ", "mesos-shim: "):
        if not pattern.startswith("mesos-shim:"):
            text = text.removeprefix(prefix)
    expression = "(.+)".join(re.escape(part) for part in pattern.split(messages.VALUE))
    return any(re.fullmatch(expression, form) for form in (text.strip(), f"{messages.VALUE} {text.strip()}"))


@pytest.fixture(scope="module")
def said() -> list[messages.Message]:
    """What the shim can say, except for what is a value alone."""
    return [message for message in messages.collect() if message.text.strip() not in IGNORED]


# Not messages: a table's last line, and the frame around every warning.
IGNORED = {
    "… containers",
    "mesos-shim: warning: …",
    "warning: …",
    "… is not the user's to write, but what covers it is",
}


def test_every_message_is_listed(said: list[messages.Message]) -> None:
    patterns = list(rows())
    missing = [f"{m.place}: {m.text}" for m in said if not any(covers(pattern, m.text) for pattern in patterns)]
    assert missing == [], "add a row to docs/troubleshooting.md for:\n" + "\n".join(missing)


def test_every_row_is_still_said(said: list[messages.Message]) -> None:
    stale = [pattern for pattern in rows() if not any(covers(pattern, message.text) for message in said)]
    assert stale == [], "no such message any more:\n" + "\n".join(stale)


def test_every_row_has_words_and_a_remedy() -> None:
    for pattern, remedy in rows().items():
        letters = re.sub(r"[^A-Za-z]", "", pattern)
        assert len(letters) >= LEAST_LETTERS or pattern in PATHS_ONLY, pattern
        assert len(remedy.split()) >= 3, f"{pattern}: what is to be done?"


# What the system says of a path: nothing else can be written before it.
PATHS_ONLY = {"…/…: …: …", "…: … in …: …"}


def test_the_walk_finds_what_a_reader_finds() -> None:
    """The walk itself: one message of each form that it has to see."""
    texts = {message.text for message in messages.collect()}
    assert "configuration …: mode … lets others write it; chmod go-w it" in texts  # an f-string in an error
    assert "run: no command; it goes after '--'" in texts  # a constant
    assert "….type: … is not 'MESOS'" in texts  # appended to a list of problems
    assert "has a NUL byte" in texts  # returned as a fault
    assert "…: not a list of isolators" in texts  # returned in a list
    assert "usage-only: NOTHING is isolated: …" in texts  # a warning
    # Another error class.
    assert "interpreter …: its path is too long or has a space, so no script can name it" in texts
    assert "--rm: the sandbox is not removed: …" in texts  # in a list that is handed on
    assert len(texts) > 200
