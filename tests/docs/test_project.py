"""What contributors look for is there, agrees with itself, and does what it says."""

from __future__ import annotations

import re

import yaml

from tests.conftest import CHECKOUT

MAKEFILE = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
PYPROJECT = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
HOOKS = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())["repos"]


def test_hooks_run_what_is_pinned_and_what_lint_runs() -> None:
    assert [repository["repo"] for repository in HOOKS] == ["local"]
    lint = MAKEFILE.split("\nlint:")[1].split("\n\n")[0]
    for hook in HOOKS[0]["hooks"]:
        program, *words = hook["entry"].split()
        name = program.removeprefix(".venv/bin/")
        assert re.search(rf'^    "{name}==', PYPROJECT, re.MULTILINE), hook
        plain = [word for word in words if word != "--force-exclude"]  # files that are named are not excluded otherwise
        assert " ".join([program, *plain]) in lint, hook


def test_every_tool_is_pinned_exactly() -> None:
    extras = re.findall(r"^(?:deploy|dev) = \[$(.*?)^\]$", PYPROJECT, re.MULTILINE | re.DOTALL)
    pins = re.findall(r'^    "([^"]+)"', "".join(extras), re.MULTILINE)
    assert len(pins) > 15
    assert [pin for pin in pins if not re.match(r"[\w-]+==[\d.]+(; .*)?$", pin)] == []
