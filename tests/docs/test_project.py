"""What contributors look for is there, agrees with itself, and does what it says."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.lib.shim import CHECKOUT

from ..lib import commands

MAKEFILE = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
PYPROJECT = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
HOOKS = yaml.safe_load((CHECKOUT / ".pre-commit-config.yaml").read_text())["repos"]
WORKFLOW = yaml.safe_load((CHECKOUT / ".github/workflows/ci.yml").read_text())


def test_make_help_lists_every_target(following: commands.Following) -> None:
    (block,) = following("CONTRIBUTING.md", "test checkout")
    done = subprocess.run(["bash", "-euc", block.use()], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    (targets,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert list(listed) == targets.split()
    assert all(listed.values())


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
    assert [pin for pin in pins if not re.match(r"[\w-]+==[\d.!]+(; .*)?$", pin)] == []


def test_the_workflow_calls_the_script_of_ci_and_may_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    (job,) = WORKFLOW["jobs"].values()
    assert "permissions" not in job
    assert job["steps"][-1] == {"run": ".ci/run"}
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert [name for name in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name)] == []


def test_the_container_for_development_can_run_the_tests() -> None:
    container = json.loads((CHECKOUT / ".devcontainer/devcontainer.json").read_text())
    (job,) = WORKFLOW["jobs"].values()
    assert container["image"] == job["container"]["image"]
    assert (container["remoteUser"], container["privileged"]) == ("root", True)
    assert container["postCreateCommand"] == ".ci/bootstrap dev"


@pytest.mark.parametrize("form", sorted((CHECKOUT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda p: p.stem)
def test_an_issue_form_is_one(form: Path) -> None:
    read = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= set(read)
    fields = [field for field in read["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
    for path in re.findall(r"\.\./blob/HEAD/([^)]+)\)", form.read_text()):
        assert (CHECKOUT / path).is_file()


def test_no_page_for_contributors_has_an_address_to_write_to() -> None:
    """Reports go to the site's own function: an address would have to exist, and to be read."""
    pages = [*CHECKOUT.glob("*.md"), *(CHECKOUT / ".github").rglob("*.*")]
    assert [page.name for page in pages if re.search(r"mailto:|\w@\w+\.\w", page.read_text())] == []


def test_the_security_policy_supports_the_version_that_is_here() -> None:
    version = re.search(r'^__version__ = "(\d+\.\d+)', (CHECKOUT / "shim/mesos_shim/__init__.py").read_text(), re.M)[1]
    assert f"the newest minor release (now {version})" in (CHECKOUT / "SECURITY.md").read_text()


def test_every_path_that_the_guide_names_exists() -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|docs|man|completion|collection|molecule|\.ci|\.devcontainer)(?:/[\w./-]*)?)`", text)
    assert len(named) > 15
    assert [path for path in named if not (CHECKOUT / path).exists()] == []
    folders = {
        name
        for row in re.findall(r"^\| (`\w.*?) \|", text.split("\n## Tests\n")[1], re.M)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert folders == {path.parent.name for path in (CHECKOUT / "tests").glob("*/__init__.py")}


def test_no_folder_imports_from_the_tests_of_another_one() -> None:
    """What two folders need is a helper, and lies in tests/lib."""
    imports = re.compile(r"^\s*from (?:\.\.|tests\.)\S*\b(?:test_\w+|conftest) import", re.MULTILINE)
    tests = [path for path in sorted((CHECKOUT / "tests").rglob("*.py")) if imports.search(path.read_text())]
    assert [str(path.relative_to(CHECKOUT)) for path in tests] == []


@pytest.mark.parametrize("module", sorted(path.stem for path in (CHECKOUT / "benchmarks").glob("[a-z]*.py")))
def test_every_benchmark_can_be_imported(module: str) -> None:
    """No other test runs them, and they use the tests' helpers."""
    importlib.import_module(f"benchmarks.{module}")
