"""An error in every call between main and exec, one at a time (threat 17).

Each time the launch is refused with one line and the command does not start, and the host is as it was: its mounts, the
sandbox, the directory of records. The calls of the plan's closed list of best-effort steps warn instead.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.launching import SHIM_FAILED, host_mounts, info, tree, volume
from ..lib.played_agent import PIPE, PlayedAgent, with_byte
from ..lib.shim import NOBODY, Shim, needs_root
from .injection import MEMORY, NEVER_FAIL, Call, run, trace

pytestmark = [needs_root, pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")]

STARTED = "the command started"
HELPERS = ("legacy_helper", "modern_helper")


class Scene:
    """A fresh host for one launch: a sandbox, records, a configuration, and the words of the launch."""

    def __init__(self, shim: Shim, plan: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="mesos-shim-test-", dir="/var/tmp"))
        self.root.chmod(0o755)
        self.sandbox = self.root / "sandbox"
        self.sandbox.mkdir()
        for name in ("state", "state/containers", "place", "place/inner", "shm"):
            (self.root / name).mkdir(mode=0o700 if name.startswith("state") else 0o777)
        self.config: dict[str, object] = {"state_dir": str(self.root / "state")}
        self.before_words: list[str] = []
        self.options: list[str] = []
        self.strace: list[str] = []
        self.program, self.status = "mesos-shim", SHIM_FAILED
        # What the agent has of a container that was not launched is no trace of the launch.
        self.runtime = Path(tempfile.mkdtemp(prefix="mesos-shim-test-", dir="/var/tmp")) / "containers" / self.root.name
        self.runtime.mkdir(parents=True)
        if plan in HELPERS:
            self.program, self.status = "mesos-containerizer", 1
            self.words = getattr(self, f"_{plan}")(shim)
            return
        volumes = getattr(self, f"_{plan}")()
        path = self.root / "config.json"
        path.write_text(json.dumps(self.config))
        self.words = [*self.before_words, str(shim.program), "run", "--config", str(path)]
        self.words += [*self.options, "--container-info", info(*volumes), "--", "/bin/echo", STARTED]

    def _private_tmp(self) -> list[dict[str, object]]:
        return [volume("tmp", "/tmp")]

    def _second_launch(self) -> list[dict[str, object]]:
        (self.sandbox / "tmp").mkdir()
        (self.sandbox / "tmp").chmod(0o1777)
        os.setxattr(self.sandbox / "tmp", "trusted.mesos_shim", b"/tmp")
        return [volume("tmp", "/tmp")]

    def _adopted(self) -> list[dict[str, object]]:
        """The user's own empty directory is taken: it must be given back as it was."""
        (self.sandbox / "his").mkdir(mode=0o777)
        os.chown(self.sandbox / "his", NOBODY, NOBODY)
        return [volume("his", self.root / "place")]

    def _everything(self) -> list[dict[str, object]]:
        """Nested volumes, a tmpfs, a mirrored path, a hidden work_dir, names passed through, another user."""
        work = self.root / "work"
        self.sandbox = work / "slaves/S/frameworks/F/executors/E/runs/R"
        self.sandbox.mkdir(parents=True)
        (self.root / "place/passed").write_text("")
        (self.root / "file").write_text("")
        self.config["hide_work_dir"] = True
        self.config["tmpfs"] = {str(self.root / "shm"): {"size": "64k", "noexec": True}}
        self.config["pass_through"] = [str(self.root / "place/pass*")]
        self.options = ["--user", "nobody"]
        return [
            volume("a/b", self.root / "place"),
            volume(str(self.root / "place/inner").strip("/"), self.root / "place/inner"),
            volume("/usr/share", "/opt", "RO"),
        ]

    def _private_directories(self) -> list[dict[str, object]]:
        """In the sandbox and in a base: made there first, and without its record it is not kept."""
        (self.root / "base").mkdir()
        self.config["private_directories"] = {
            str(self.root / "shm"): {"noexec": True},
            str(self.root / "place"): {"base": str(self.root / "base")},
            str(self.root / "place/inner"): {"base": str(self.root / "base")},
        }
        self.options = ["--user", "nobody"]
        return []

    def _rootless(self) -> list[dict[str, object]]:
        for path in (self.sandbox, self.root / "state", self.root / "state/containers"):
            os.chown(path, NOBODY, NOBODY)
        self.before_words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return [volume("tmp", "/tmp"), volume("in", self.root / "place/inner"), volume("out", self.root / "place")]

    def _old_kernel(self) -> list[dict[str, object]]:
        self.strace = [
            f"inject={name}:error=ENOSYS"
            for name in ("open_tree", "move_mount", "mount_setattr", "openat2", "fsopen", "close_range")
        ]
        self.config["tmpfs"] = {str(self.root / "shm"): "64k"}
        return [volume("tmp", "/tmp"), volume("/usr/share", "/opt", "RO")]

    def _legacy_helper(self, shim: Shim) -> list[str]:
        """The agent's 0.21 protocol: a checkpointed ContainerInfo of a framework's, its absolute source, its user."""
        executor = f"slaves/S/frameworks/F/executors/E-{self.root.name}"
        work = self.root / "work"
        self.sandbox = work / executor / "runs" / self.root.name
        self.sandbox.mkdir(parents=True)
        os.chown(self.sandbox, NOBODY, NOBODY)
        meta = work / "meta" / executor
        meta.mkdir(parents=True)
        volumes = (wire.volume("/tmp", "tmp"), wire.volume("/opt", str(self.root / "place"), 2))
        message = wire.data(1, wire.data(1, "E")) + wire.data(8, wire.data(1, "F"))
        (meta / "executor.info").write_bytes(wire.checkpoint(message + wire.data(11, wire.container_info(*volumes))))
        arguments = [
            f"--command={json.dumps({'value': f'echo {STARTED}'})}",
            f"--directory={self.sandbox}",
            "--user=nobody",
            f"--pipe_read={PIPE[0]}",
            f"--pipe_write={PIPE[1]}",
        ]
        return with_byte(self.root, str(shim.helper), "launch", *arguments)

    def _modern_helper(self, shim: Shim) -> list[str]:
        """The same by the 1.x protocol, in which the helper stays: what it starts is no copy of it (beside.py)."""
        agent = PlayedAgent(self.root, shim, container=self.root.name)
        agent.runtime = self.runtime
        agent.hold(wire.container_info(wire.volume("/tmp", "tmp"), wire.volume("/opt", str(self.root / "place"), 2)))
        self.sandbox = agent.sandbox
        return agent.words(f"echo {STARTED}", user="root")

    def state(self) -> dict[str, object]:
        """Everything that a launch could leave behind here."""
        return tree(self.root)

    def close(self) -> None:
        """Take the scene away."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.runtime.parents[1], ignore_errors=True)


def questions(calls: list[Call]) -> set[Call]:
    """What the record asks the kernel besides the start time: an older kernel, or a host without /proc, has no answer.

    The record then lacks that field, as a record of such a host does; there is nothing to warn of.
    """
    begin = next(i for i, call in enumerate(calls) if call.name == "fchdir") + 1
    end = next(i for i, call in enumerate(calls) if ".json" in call.text and "O_EXCL" in call.text)
    # Whether there is a terminal: one that answers so is none that anybody could use.
    unanswered = {call for call in calls if call.name == "ioctl" and "TCGETS" in call.text}
    # Whether root is one of a user namespace of their own: where nobody tells, the first one's (system/unmapped.py).
    unanswered |= {call for call in calls if '"/proc/self/ns/user"' in call.text}
    # Who stays beside the command has asked for his start time before, and is then made his orphans' parent.
    stays = next((i for i, call in enumerate(calls) if "PR_SET_CHILD_SUBREAPER" in call.text), None)
    if stays is not None:
        who = {call for call in calls if call.name == "readlink" and '"/proc/self"' in call.text}
        return {*unanswered, *who, *calls[stays - 3 : stays + 1], *calls[begin:end]}
    stat = next(i for i, call in enumerate(calls) if i > begin and "/proc/self/stat" in call.text)
    # A directory in a base is named after us, too.
    who = {call for call in calls if call.name == "readlink" and '"/proc/self"' in call.text}
    return {*unanswered, *who, *calls[begin:stat], *calls[stat + 2 : end]}


def best_effort(calls: list[Call]) -> set[Call]:
    """The calls of plan.BEST_EFFORT: the record's, before the view and before the exec, and the mark."""
    place = next(i for i, call in enumerate(calls) if call.name == "openat" and "/state" in call.text)
    view = next(i for i, call in enumerate(calls) if call.name == "unshare")
    begin = next(i for i, call in enumerate(calls) if call.name == "fchdir") + 1
    end = next(i for i, call in enumerate(calls) if call.name == "close_range")
    marks = [call for call in calls if call.name == "fsetxattr" and ".mesos_shim" in call.text]
    locks = [i for i, call in enumerate(calls) if call.name == "flock"]
    return {*calls[place:view], *calls[begin:end], *marks, *(call for i in locks for call in calls[i - 1 : i + 1])}


def verdict(call: Call, scene: Scene, optional: set[Call], silent: set[Call], dropped: set[Call]) -> str | None:
    """What was wrong after an error in `call`; None if nothing was."""
    before = scene.state()
    done = run(call, scene.words, scene.sandbox, scene.strace)
    started = STARTED in done.stdout
    problems = []
    if call.library:
        # The interpreter's imports, the loader's and the account database's files, a directory's
        # stream after its last entry: they try elsewhere, give up, or do not need it.
        if not started and scene.state() != before:
            problems.append("changed")
    elif started:
        tolerated = call in silent or (call in optional and "warning: " in done.stderr)
        # Whatever keeps an entry from being judged or passed leaves it hidden, which is the safe side.
        tolerated = tolerated or ("pass_through" in done.stderr and "stays hidden" in done.stderr)
        # So does what keeps a link in the sandbox from being followed: what it leads to is not mirrored.
        tolerated = tolerated or ("links in the sandbox " in done.stderr and "may be hidden" in done.stderr)
        if done.returncode or not tolerated:
            problems.append("started")
    else:
        expected = 126 if call.name == "execve" and scene.status == SHIM_FAILED else scene.status
        if done.returncode != expected:
            problems.append(f"exit {done.returncode}, not {expected}")
        if done.stderr.count("\n") != 1 or not done.stderr.startswith(f"{scene.program}: "):
            problems.append("not one line")
        if "internal error" in done.stderr:
            problems.append("no message for people")
        after = scene.state()
        if call in dropped:
            # Root's rights are gone by then: what is left is for gc and for the next launch (order.abort).
            after = {}
            before = {}
        if after != before:
            changed = {name for name in {*after, *before} if after.get(name) != before.get(name)}
            problems.append(f"changed: {sorted(changed)}")
    if problems:
        return f"{call} = {call.error}: {call.text[:150]}: {'; '.join(problems)}: {done.stderr!r}"
    return None


@pytest.fixture
def mounts_stay() -> Iterator[None]:
    """Nothing of ours is in the host's mount table afterwards."""
    yield
    assert [line for line in host_mounts() if "mesos-shim-test-" in line or " /tmp " in line] == []


def inject_everywhere(shim: Shim, plan: str) -> None:
    """Trace the plan once, then play it anew with an error in each of its calls."""
    scene = Scene(shim, plan)
    marker = str(scene.root / "config.json") if plan not in HELPERS else str(shim.config_path)
    try:
        calls = trace(scene.words, scene.sandbox, scene.root, marker, scene.strace)
        ids = [i for i, call in enumerate(calls) if call.name == "setresuid"]
        dropped = set(calls[ids[-1] + 1 :]) if ids else set()
    finally:
        scene.close()
    optional, silent = best_effort(calls), questions(calls)
    todo = [call for call in calls if call.name not in (*NEVER_FAIL, *MEMORY)]
    assert len(todo) > 60  # the window was found

    def play(call: Call) -> str | None:
        scene = Scene(shim, plan)
        try:
            return verdict(call, scene, optional, silent, dropped)
        finally:
            scene.close()

    with ThreadPoolExecutor(2) as pool:
        wrong = [problem for problem in pool.map(play, todo) if problem]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(todo)}", *wrong])


def test_every_call_of_a_private_tmp(shim: Shim, mounts_stay: None) -> None:
    inject_everywhere(shim, "private_tmp")


LONG = [
    pytest.param(plan, marks=pytest.mark.soak)
    for plan in ("second_launch", "adopted", "everything", "rootless", "old_kernel", "legacy_helper")
]


@pytest.mark.parametrize("plan", ["modern_helper", "private_directories", *LONG])
def test_every_call_of_other_plans(shim: Shim, mounts_stay: None, plan: str) -> None:
    if plan in HELPERS:
        shim.configure(framework_volumes="all")
        (shim.state_dir / "containers").mkdir(
            0o700, parents=True
        )  # there from the first: it is the installed shim's own
    inject_everywhere(shim, plan)
    if plan in HELPERS:
        # Of launches that were refused no record is left (of those that started and ended, gc clears theirs).
        leftovers = [path.name for path in (shim.state_dir / "containers").iterdir() if path.name.startswith(".")]
        assert leftovers == []
