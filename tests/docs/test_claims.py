"""What the README says of other tools is no more than what was checked."""

from __future__ import annotations

import re

from tests.lib.shim import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Comparison with other tools\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)[1]


def test_mesos_was_run_in_the_release_that_the_tests_run() -> None:
    (fetched,) = re.findall(r"mesos\.interface==(\d+\.\d+\.\d+)", (CHECKOUT / "tests/lib/agent/fetch.py").read_text())
    compatibility = (CHECKOUT / "docs/compatibility.md").read_text(encoding="utf-8")
    assert f'"Tested" means with a real {fetched} agent' in compatibility
    assert set(re.findall(r"\d+\.\d+\.\d+", SECTION)) == {fetched}


def test_every_row_has_a_word_on_every_neighbour() -> None:
    rows = [line.strip("|").split("|") for line in SECTION.splitlines() if line.startswith("|")]
    assert len(rows) > 10
    assert {len(row) for row in rows} == {len(rows[0])}
    assert [row for row in rows[2:] if not all(cell.strip() for cell in row)] == []


def test_the_speed_that_is_shown_is_the_speed_that_was_measured() -> None:
    section = re.search(r"^## Performance\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)[1]
    shown = [line for line in section.splitlines() if line.startswith("|")]
    measured = (CHECKOUT / "docs/performance.md").read_text(encoding="utf-8").splitlines()
    assert len(shown) > 6
    assert [line for line in shown if line not in measured] == []
