"""Every command in the documents is run: on real hosts with systemd, from a controller, or here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lib.agent import on_host
from tests.lib.hosts import machines
from tests.lib.shim import CHECKOUT

from ..lib import commands

PAGES = [
    *sorted(CHECKOUT.glob("*.md")),
    *sorted((CHECKOUT / "docs").glob("*.md")),
    CHECKOUT / "collection/README.md",
    *sorted((CHECKOUT / "collection/roles").glob("*/README.md")),
]


def name(page: Path) -> str:
    """The page's path in the checkout."""
    return str(page.relative_to(CHECKOUT))


def faults(page: Path, followed: set[tuple[str, str]]) -> list[str]:
    """The blocks of a page that nobody runs, and those that hide that they are commands."""
    found = []
    for block in commands.blocks(page):
        where = f"{name(page)}:{block.line}"
        follows = any(block.among((mark,)) for on, mark in followed if on == name(page))
        if not block.language:
            found.append(f"{where}: no language")
        elif block.language in commands.SHELLS and not re.match(r"test\b|paper: \S|file=\S", block.mark):
            found.append(f"{where}: does not say whether it is run")
        elif re.match(r"test\b|file=", block.mark) and not follows:
            found.append(f"{where}: no test follows {block.mark!r} of this page")
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if re.match(r" {4,}(\$ |ansible|mesos-shim |make |systemctl )\S*[ -]\S+ ", line):
            found.append(f"{name(page)}:{number}: a command outside of a fenced block")
    return found


@pytest.fixture(scope="module")
def followed() -> set[tuple[str, str]]:
    """What the tests follow."""
    return commands.followed(CHECKOUT / "tests")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_a_page_is_followed_by_a_test(page: Path, followed: set[tuple[str, str]]) -> None:
    assert faults(page, followed) == []


def test_a_block_that_nobody_follows_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate itself, by a page with one block of each kind."""
    monkeypatch.setitem(globals(), "CHECKOUT", tmp_path)
    page, tests = tmp_path / "page.md", tmp_path / "tests"
    parts = ["```sh test", "```sh test there", "```sh paper: no such host", "```yaml file=a", "```sh", "```", "```text"]
    page.write_text(
        "".join(f"{first}\nmesos-shim ps\n```\n" for first in parts) + "\n    ansible-playbook -i a b.yml\n"
    )
    tests.mkdir()
    unused = "def fixture(following): following('page.md', 'test there')\n"
    (tests / "test_x.py").write_text(f"def test_x(following): following('page.md', 'test')\n{unused}")
    lines = [1, 4, 7, 10, 13, 16, 19, 23]
    assert [int(fault.split(":")[1]) for fault in faults(page, commands.followed(tests))] == [
        *lines[1:2],
        *lines[3:6],
        23,
    ]
    (tests / "test_y.py").write_text(
        f"def test_y(fixture): fixture()\n{unused}def test_z(following): following('page.md', 'file=')"
    )
    assert [int(fault.split(":")[1]) for fault in faults(page, commands.followed(tests))] == [13, 16, 23]


def test_a_follower_that_leaves_a_block_out_is_found(tmp_path: Path) -> None:
    """The fixture itself: what was asked for and not used is an error when the test ends."""
    fixture = commands.following.__wrapped__()  # type: ignore[attr-defined]
    first, *others = next(fixture)("docs/operations.md", "test")
    assert first.use().strip()
    with pytest.raises(AssertionError, match=f"docs/operations.md:{others[0].line}"):
        next(fixture)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


class Field:
    """A controller's directory and two hosts, on which a page is followed from top to bottom."""

    def __init__(self, fleet: machines.Fleet, directory: Path) -> None:
        self.fleet = fleet
        self.directory = directory
        # A copy: what is edited meanwhile would be drift.
        for name in ("playbooks", "collection", "shim", "man", "completion"):
            shutil.copytree(CHECKOUT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        place = directory / "collections/ansible_collections/mesos"
        place.mkdir(parents=True)
        (place / "containerizer").symlink_to(directory / "collection")
        # The way to the hosts; everything else is the page's own inventory.
        # The agent of the test hosts is in one process with its master, which changes these two.
        variables = {**fleet.variables, "mesos_agent_gate_ignore_flags": ["work_dir", "master"]}
        lines = [f"{key}: {value!r}" for key, value in variables.items()]
        (directory / "group_vars").mkdir()
        (directory / "group_vars/all.yml").write_text("\n".join(lines) + "\n")

    def do(self, blocks: list[commands.Block], page: str) -> None:
        """Do what the blocks say, in this order."""
        for block in blocks:
            where = f"{page}:{block.line}"
            file = commands.file_of(block)
            if file is not None:
                self._write(file, block.use())
            elif block.mark == "test controller":
                self._on_controller(block.use(), where)
            else:
                self._on_host(block.use(), where)

    def _write(self, file: str, text: str) -> None:
        if file.startswith("/"):
            for host in self.fleet:
                place = host.root / file.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
        else:
            (self.directory / file).write_text(text)

    def _on_controller(self, text: str, where: str) -> None:
        environment = {
            **os.environ,
            "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{where}\n{text}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"

    def _on_host(self, text: str, where: str) -> None:
        host = next(iter(self.fleet))
        script = f"cd /root && PATH=/opt/mesos-shim/bin:$PATH && set -euo pipefail\n{text}"
        done = host.ssh(f"bash -c {shlex.quote(script)}", check=False)
        assert done.returncode == 0, f"{where}\n{text}\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def agent_layer() -> Path:
    """What makes a host one with an agent's unit; without it the test is skipped."""
    try:
        return on_host.layer()
    except machines.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.hosts
def test_operations(hosts, agent_layer: Path, tmp_path: Path, following: commands.Following) -> None:
    with hosts(names={"agent-1": "bookworm", "agent-2": "bookworm"}, layer=agent_layer) as fleet:
        before = {host.name: state(host) for host in fleet}
        field = Field(fleet, tmp_path)
        field.do(following("docs/operations.md", "test", "test controller", "file="), "docs/operations.md")
        assert (tmp_path / "report.html").stat().st_size > 1000
        assert {host.name: state(host) for host in fleet} == before


@pytest.mark.hosts
def test_readme(hosts, agent_layer: Path, tmp_path: Path, following: commands.Following) -> None:
    """Its blocks as a reader meets them, but that a host is provisioned before a command is launched there."""
    with hosts(names={"agent-1": "bookworm", "agent-2": "bookworm"}, layer=agent_layer) as fleet:
        field = Field(fleet, tmp_path)
        host = next(iter(fleet))
        (host.root / "etc/app").mkdir()
        server = host.root / "root/server"
        server.write_text("#!/bin/sh\ntouch /tmp/mine && ! touch /etc/app/mine 2>/dev/null\n")
        server.chmod(0o755)
        field.do(following("README.md", "test controller", "file="), "README.md")
        field.do(following("README.md", "test"), "README.md")
        field.do(following("docs/troubleshooting.md", "test"), "docs/troubleshooting.md")
        assert (host.root / "root/tmp/mine").exists()


@pytest.mark.hosts
def test_readme_of_the_collection(hosts, agent_layer: Path, tmp_path: Path, following: commands.Following) -> None:
    with hosts(names={"agent-1": "bookworm", "agent-2": "bookworm"}, layer=agent_layer) as fleet:
        field = Field(fleet, tmp_path)
        field.do(following("collection/README.md", "test controller", "file="), "collection/README.md")
        for host in fleet:
            assert json.loads((host.root / "etc/mesos-shim/config.json").read_text())["default_container_info"]


def test_demo(following: commands.Following) -> None:
    """`make demo` ends 0 and prints what the README shows; numbers, names and digests are each machine's own."""
    (block,) = following("README.md", "test checkout")
    done = subprocess.run(
        ["bash", "-euc", block.use()], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = next(block.text for block in commands.blocks(CHECKOUT / "README.md") if "Two executors" in block.text)
    assert shape(done.stdout) == shape(shown)


def shape(text: str) -> list[str]:
    """The words of each line without what differs from run to run."""
    lines = [re.sub(r"[0-9][0-9a-f.]*M?|-[0-9a-f]{12}|changed=\S+|ok=\S+", "#", line) for line in text.splitlines()]
    return [" ".join(line.split()) for line in lines if line.strip()]


def state(host: machines.Host) -> str:
    """What an uninstallation must have left as it was."""
    return host.says("ls -A /opt /usr/local/bin; cat /etc/mesos-slave/* 2>/dev/null; ls /etc/mesos-shim 2>&1; true")
