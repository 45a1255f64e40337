"""What every test through a real Mesos agent shares."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterator

import pytest

from tests.lib.agent import local


@pytest.fixture(scope="session")
def task_user() -> pwd.struct_passwd:
    """An ordinary user that every Debian has."""
    return pwd.getpwnam("nobody")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows what its agent's log says beyond the usual; containers write there too."""
    outcome = yield
    report = outcome.get_result()
    agent = getattr(item, "funcargs", {}).get("agent")
    if report.failed and isinstance(agent, local.LocalAgent) and agent.log_path.exists():
        # glog's informational lines tell of each step; their end is enough to see the last ones.
        lines = agent.log.splitlines()
        unusual = [line for line in lines[:-40] if not re.match(r"I\d{4} ", line)]
        report.sections.append(("agent log", "\n".join([*unusual[-60:], "…", *lines[-40:]])))
