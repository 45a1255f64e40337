"""Every command in the documents is run: on real hosts with systemd, from a controller, or here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.hosts import agent
from tests.hosts import hosts as machines

from . import commands

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_shell_block_says_whether_it_is_run(page: Path) -> None:
    unmarked = [
        f"{page.name}:{block.line}"
        for block in commands.blocks(page)
        if block.language in ("sh", "bash", "shell", "console")
        and not re.match(r"test\b|paper: \S|file=\S", block.mark)
    ]
    assert unmarked == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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

    def follow(self, page: Path) -> int:
        """Do what the page says, block by block; how many blocks were run."""
        return self.do(commands.blocks(page), page.name)

    def do(self, blocks: list[commands.Block], page: str) -> int:
        """Do what the blocks say, in this order; how many were run."""
        run = 0
        for block in blocks:
            file = commands.file_of(block)
            if file is not None:
                self._write(file, block.text)
            elif block.language == "sh" and block.mark in ("test", "test controller"):
                run += 1
                where = f"{page}:{block.line}"
                if block.mark == "test controller":
                    self._on_controller(block.text, where)
                else:
                    self._on_host(block.text, where)
        return run

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


@pytest.mark.hosts
def test_operations(hosts, tmp_path: Path) -> None:
    try:
        layer = agent.layer()
    except machines.Unavailable as reason:
        pytest.skip(str(reason))
    with hosts(names={"agent-1": "bookworm", "agent-2": "bookworm"}, layer=layer) as fleet:
        before = {host.name: state(host) for host in fleet}
        field = Field(fleet, tmp_path)
        assert field.follow(CHECKOUT / "docs/operations.md") >= 10
        assert (tmp_path / "report.html").stat().st_size > 1000
        assert {host.name: state(host) for host in fleet} == before


@pytest.mark.hosts
def test_readme(hosts, tmp_path: Path) -> None:
    """Its blocks as a reader meets them, but that a host is provisioned before a command is launched there."""
    page = CHECKOUT / "README.md"
    try:
        layer = agent.layer()
    except machines.Unavailable as reason:
        pytest.skip(str(reason))
    with hosts(names={"agent-1": "bookworm", "agent-2": "bookworm"}, layer=layer) as fleet:
        field = Field(fleet, tmp_path)
        host = next(iter(fleet))
        (host.root / "etc/app").mkdir()
        server = host.root / "root/server"
        server.write_text("#!/bin/sh\ntouch /tmp/mine && ! touch /etc/app/mine 2>/dev/null\n")
        server.chmod(0o755)
        here = [block for block in commands.blocks(page) if block.mark != "test"]
        there = [block for block in commands.blocks(page) if block.mark == "test"]
        assert field.do([*here, *there], page.name) == 2
        assert field.follow(CHECKOUT / "docs/troubleshooting.md") == 1
        assert (host.root / "root/tmp/mine").exists()


def test_demo() -> None:
    """`make demo` ends 0 and prints what the README shows; numbers, names and digests are each machine's own."""
    (block,) = [block for block in commands.blocks(CHECKOUT / "README.md") if block.mark == "test checkout"]
    done = subprocess.run(
        ["bash", "-euc", block.text], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=110
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
