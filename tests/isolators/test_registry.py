"""The registry of isolators: modules and texts keep to it, and the documented recipe is enough to add one."""

from __future__ import annotations

import inspect
import json
import re
import runpy
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from mesos_shim import isolators
from mesos_shim.commands.explain import RUN_HELP
from mesos_shim.plan.model import Draft
from mesos_shim.spec import isolation, request
from mesos_shim.spec.isolation import Isolator

from ..lib.commands import Block, Following, blocks, file_of
from ..lib.completion import bash_completes
from ..lib.containers import Starter
from ..lib.launching import said
from ..lib.masked import Elsewhere
from ..lib.shim import CHECKOUT, Shim, install, needs_root

pytestmark = needs_root

WITH_MODULE = [item for item in isolation.REGISTRY if item.name != isolation.FILESYSTEM_SHARED]
FUNCTIONS = {"missing", "tmpfs", "add", "report", "measure", "exceeded", "attempt", "where"}
# Modules beside the isolators' own, and functions that other wings call.
HELPERS = {"__init__", "groups"}
CALLED_DIRECTLY = {"cgroups_mem": {"killed"}, "disk_du": {"used"}}


def id_of(item: Isolator) -> str:
    return item.name


def functions(item: Isolator) -> set[str]:
    """The public functions of the isolator's module."""
    module = isolators.module(item.name)
    found = {name for name, value in vars(module).items() if inspect.isfunction(value) and name[0] != "_"}
    return {name for name in found if getattr(module, name).__module__ == module.__name__}


@pytest.mark.parametrize("item", WITH_MODULE, ids=id_of)
def test_the_module_keeps_the_declared_traits(item: Isolator) -> None:
    found = functions(item)
    assert found - CALLED_DIRECTLY.get(item.name.replace("/", "_"), set()) <= FUNCTIONS
    if item.reports_only:
        assert found & {"report", "measure"}
        assert not found & {"missing", "add", "tmpfs", "attempt", "where"}
        assert not item.needs_parent
        assert item.limit is None
    else:
        assert "missing" in found
        assert found & {"add", "tmpfs"}
        assert not item.portable
    assert "report" in found or not item.always_reports
    assert item.limit is None or hasattr(request.LaunchRequest(), item.limit)


@pytest.mark.parametrize("item", [item for item in WITH_MODULE if not item.reports_only], ids=id_of)
def test_a_parent_stays_for_what_it_must_clear_and_for_nothing_else(item: Isolator) -> None:
    asked = request.LaunchRequest()
    module = isolators.module(item.name)
    why = module.missing(asked)
    if why is not None:
        pytest.skip(why)
    plan = Draft("c", None, None)  # type: ignore[arg-type]
    if hasattr(module, "add"):
        module.add(asked, plan)
    assert item.needs_parent == bool(plan.cgroups or "pid" in plan.namespaces)


def test_every_module_is_registered_once() -> None:
    files = {path.stem for path in (CHECKOUT / "shim/mesos_shim/isolators").glob("*.py")} - HELPERS
    assert files == {item.name.replace("/", "_") for item in WITH_MODULE}
    assert len(set(isolation.NAMES)) == len(isolation.NAMES)
    assert not set(isolation.NAMES) & set(isolation.aliases())


def texts(checkout: Path) -> dict[str, list[str]]:
    """The names of isolators that each text for people lists."""
    bash = (checkout / "completion/mesos-shim").read_text()
    zsh = (checkout / "completion/_mesos-shim").read_text()
    page = (checkout / "man/mesos-shim.1").read_text()
    entry = page.partition(r".It Fl \&-isolation Ar list")[2].partition(".It")[0]
    return {
        "bash": re.search(r'-W "(filesystem/shared[^"]*)"', bash)[1].split(),
        "zsh": re.search(r"_values -s , isolator ([^}]*)", zsh)[1].replace("\\\n", " ").split(),
        "manual": re.findall(r"[\w/]+", " ".join(re.findall(r"^\.Sy (.*)", entry, re.MULTILINE))),
    }


def rows(checkout: Path) -> dict[str, str]:
    """From the table of docs/isolators.md: each isolator, and what the column of macOS says."""
    text = (checkout / "docs/isolators.md").read_text()
    table = text.partition("| isolator | what it does |")[2].partition("\n\n")[0]
    found = re.findall(r"^\| (`[^|]*) \|.*\| ([^|]*) \|$", table, re.MULTILINE)
    return {name: last for names, last in found for name in re.findall(r"`([^`]*)`", names)}


def check_texts(checkout: Path) -> None:
    """Hold completions, manual page and table to the registry of this checkout."""
    registry = runpy.run_path(str(checkout / "shim/mesos_shim/spec/isolation.py"))
    names, portable = set(registry["NAMES"]), {item.name for item in registry["REGISTRY"] if item.portable}
    for where, listed in texts(checkout).items():
        assert sorted(listed) == sorted(names | set(registry["aliases"]())), where
    table = rows(checkout)
    assert set(table) == names
    assert {name for name, macos in table.items() if macos == "yes"} == portable


def test_every_text_names_every_isolator() -> None:
    check_texts(CHECKOUT)
    document = (CHECKOUT / "docs/isolators.md").read_text()
    assert [name for name in isolation.aliases() if f"`{name}`" not in document] == []


def test_help_says_which_isolator_takes_which_limit() -> None:
    limited = {item.limit: item.name for item in isolation.REGISTRY if item.limit is not None}
    assert f"limits for {limited['cpus']} and {limited['mem']}" in RUN_HELP
    zsh = (CHECKOUT / "completion/_mesos-shim").read_text()
    assert [limit for limit, name in limited.items() if f"'--{limit}=[limit for {name}]" not in zsh] == []


# The recipe of docs/isolators.md, followed to the letter.
PAGE = "docs/isolators.md"
REPORTS, ISOLATES = "posix/largest", "filesystem/mnt"


def copy_of(checkout: Path) -> Path:
    """A copy of all that the recipe touches."""
    for name in ("shim", "completion", "man", "docs"):
        shutil.copytree(CHECKOUT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    return checkout


def apply(recipe: Iterable[Block], checkout: Path) -> None:
    """Write the recipe's files, and change the lines that it changes."""
    for block in recipe:
        file = file_of(block)
        if file is not None:
            (checkout / file).write_text(block.use())
            continue
        first, *lines = block.use().splitlines()
        path = checkout / first.removeprefix("--- ")
        old = [line[1:] for line in lines if line[0] in " -"]
        new = [line[1:] for line in lines if line[0] in " +"]
        before = path.read_text().splitlines()
        places = [index for index in range(len(before)) if before[index : index + len(old)] == old]
        assert len(places) == 1, f"{PAGE}:{block.line}: {first}: at {places}"
        before[places[0] : places[0] + len(old)] = new
        path.write_text("\n".join(before) + "\n")


def test_the_recipe_names_the_new_ones_everywhere(tmp_path: Path, following: Following) -> None:
    checkout = copy_of(tmp_path)
    apply(following("docs/isolators.md", "file=", "test recipe"), checkout)
    assert {REPORTS, ISOLATES} <= set(rows(checkout))
    check_texts(checkout)


@pytest.fixture(scope="module")
def extended() -> Iterator[Path]:
    """An installation with the recipe's isolators."""
    base = Path(tempfile.mkdtemp(prefix="mesos-shim-recipe-", dir="/var/tmp"))
    base.chmod(0o755)
    checkout = copy_of(base / "checkout")
    apply([block for block in blocks(CHECKOUT / PAGE) if block.among(("file=", "test recipe"))], checkout)
    prefix = install(base / "prefix", checkout=checkout)
    completions = prefix / "share/bash-completion/completions"
    completions.mkdir(parents=True)
    shutil.copy(checkout / "completion/mesos-shim", completions)
    yield prefix
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def shim(extended: Path) -> Shim:
    """The program with the recipe's isolators, a fresh configuration and no records."""
    shutil.rmtree(extended / "state", ignore_errors=True)
    return Shim(extended)


def test_the_new_one_reports_and_keeps_no_parent(shim: Shim, start: Starter) -> None:
    container = start("--isolation", f"posix/mem,{REPORTS}")
    assert container.record["isolation"] == ["posix/mem", REPORTS]
    assert container.do("answer = os.getpid()") == str(container.process.pid)  # not a supervisor's child
    largest = container.used["statistics"]["mem_largest_process_bytes"]
    assert 0 < largest <= container.used["statistics"]["mem_rss_bytes"]


def test_usage_reports_it_only_where_it_was_asked_for(start: Starter) -> None:
    assert "mem_largest_process_bytes" not in start("--isolation", "posix/mem").used["statistics"]


def test_the_new_one_isolates_and_keeps_no_parent(shim: Shim, start: Starter, sandbox: Path) -> None:
    container = start("--isolation", f"posix/cpu,{ISOLATES}")
    assert container.do("answer = os.getpid()") == str(container.process.pid)
    assert container.do("open('/mnt/of-the-container', 'w').close(); answer = os.listdir('/mnt')") == (
        "['of-the-container']"
    )
    assert not Path("/mnt/of-the-container").exists()
    done = shim.run("explain", "--json", "--isolation", ISOLATES, "--", "true", cwd=sandbox)
    steps = json.loads(said(done))["steps"]
    assert [step["target"] for step in steps if step["action"] == "tmpfs"] == ["/mnt"]
    assert "supervise" not in [step["action"] for step in steps]


def test_the_operators_own_volume_goes_before_the_new_ones(shim: Shim, sandbox: Path) -> None:
    shim.configure(tmpfs={"/mnt": "3m"}, isolation=["filesystem/shared", ISOLATES])
    steps = json.loads(said(shim.run("explain", "--json", "--", "true", cwd=sandbox)))["steps"]
    assert [(step["target"], step["size"]) for step in steps if step["action"] == "tmpfs"] == [("/mnt", "3m")]


def test_the_configuration_takes_the_new_ones(shim: Shim, sandbox: Path) -> None:
    shim.configure(isolation=[ISOLATES, REPORTS])
    done = shim.run("explain", "--json", "--", "true", cwd=sandbox)
    assert json.loads(said(done))["isolation"] == [REPORTS, ISOLATES]
    assert shim.run("validate", shim.config_path).returncode == 0


def test_doctor_probes_the_new_one(shim: Shim) -> None:
    shim.configure(isolation=[ISOLATES, REPORTS])
    found = {item["check"]: item for item in json.loads(shim.run("doctor", "--json").stdout)}
    assert (found[ISOLATES]["state"], found[ISOLATES]["message"]) == ("ok", "available")
    assert f"{REPORTS}, {ISOLATES}" in found["configuration"]["message"]


def test_usage_only_mode_keeps_what_reports_elsewhere_too(shim: Shim, sandbox: Path) -> None:
    elsewhere = Elsewhere(shim, sandbox)
    process = elsewhere.start("--container-id", "c1", "--isolation", f"{REPORTS},{ISOLATES}")
    try:
        (used,) = json.loads(elsewhere.run("usage", "--format", "json").stdout)
        assert (used["mode"], used["isolation"], used["pid"]) == ("usage-only", [REPORTS], process.pid)
        assert used["statistics"]["mem_largest_process_bytes"] > 0
    finally:
        process.communicate()


def test_bash_completes_the_new_ones(shim: Shim) -> None:
    for name in (REPORTS, ISOLATES):
        assert bash_completes(shim.prefix, f"mesos-shim run --isolation disk/du,{name[:-2]}") == [f"disk/du,{name}"]
