"""The launches whose system calls are kept in expected/calls: a function each prepares the host and gives the words."""

from __future__ import annotations

import os
from pathlib import Path

from ..lib import wire
from ..lib.callers import Asked, words_of_executor
from ..lib.played_agent import PIPE, PlayedAgent, with_byte
from ..lib.shim import NOBODY
from .calls import trace
from .host import AS_NOBODY, GoldenHost

# What came with Linux 5.2 to 5.12.
_NEW_CALLS = ("open_tree", "move_mount", "mount_setattr", "openat2", "fsopen", "close_range")


def run(host: GoldenHost) -> list[str]:
    host.volumes("tmp:/tmp")
    return host.words("run")


def run_with_everything(host: GoldenHost) -> list[str]:
    """Nested, mirrored and absolute volumes, all that a configuration can add, another user."""
    host.cwd = host.directory("place/work/sandbox", uid=NOBODY)
    inner = host.directory("place/inner")
    host.file("place/passed")
    host.shim.configure(
        hide_work_dir=True,
        work_dir=str(host.root / "place/work"),
        pass_through=[str(host.place / "passed")],
        tmpfs={str(host.directory("shm", mode=0o1777)): "64k"},
        private_directories={
            str(host.directory("one", mode=0o1777)): {},
            str(host.directory("two", mode=0o1777)): {"base": str(host.directory("base"))},
        },
    )
    host.volumes(f"x:{host.place}", f"{str(inner)[1:]}:{inner}", f"{host.directory('data')}:{host.directory('opt')}:RO")
    host.options += ["--user", "nobody"]
    return host.words("run")


def run_on_an_old_kernel(host: GoldenHost) -> list[str]:
    host.shim.configure(tmpfs={str(host.directory("shm", mode=0o1777)): "64k"})
    host.volumes("tmp:/tmp", f"{host.directory('data')}:{host.directory('opt')}:RO")
    host.inject = [f"inject={','.join(_NEW_CALLS)}:error=ENOSYS"]
    return host.words("run")


def run_as_an_ordinary_user(host: GoldenHost) -> list[str]:
    host.ordinary_user()
    host.volumes("tmp:/tmp")
    return host.words("run")


def run_supervise(host: GoldenHost) -> list[str]:
    host.volumes("tmp:/tmp")
    return host.words("run", "--supervise")


def run_rm(host: GoldenHost) -> list[str]:
    host.volumes("tmp:/tmp")
    return host.words("run", "--rm", "--user", "nobody")


def run_in_a_pid_namespace(host: GoldenHost) -> list[str]:
    host.volumes("tmp:/tmp")
    return host.words("run", "--isolation", "filesystem/shared,namespaces/pid", "--user", "nobody")


def helper_1x_for_root(host: GoldenHost) -> list[str]:
    return _agent(host, uid=0).words("true", user="root")


def helper_1x_for_nobody(host: GoldenHost) -> list[str]:
    return _agent(host).words("true", user="nobody")


def helper_021(host: GoldenHost) -> list[str]:
    agent = _agent(host)
    words = ['--command={"value":"true"}', f"--directory={agent.sandbox}", "--user=nobody"]
    words += [f"--pipe_read={PIPE[0]}", f"--pipe_write={PIPE[1]}"]
    return with_byte(host.root, str(agent.shim.helper), "launch", *words)


def hand_over(host: GoldenHost) -> list[str]:
    """What the packaged helper does better it does in our mount namespace; a script plays it."""
    _packaged(host)
    return _agent(host).words("true", user="nobody", masked_paths=["/proc/x"])


def hand_over_untouched(host: GoldenHost) -> list[str]:
    """An image's root file system: the packaged helper has the call as it came."""
    _packaged(host)
    return _agent(host).words("true", rootfs="/srv")


def executors_call(host: GoldenHost) -> list[str]:
    """mesos-executor's, which is the task's user already."""
    agent = _agent(host)
    host.cwd = agent.sandbox
    return [*AS_NOBODY, *words_of_executor(agent, "1.2", Asked({"value": "true"}))]


LAUNCHES = {
    launch.__name__: launch
    for launch in (
        run,
        run_with_everything,
        run_on_an_old_kernel,
        run_as_an_ordinary_user,
        run_supervise,
        run_rm,
        run_in_a_pid_namespace,
        helper_1x_for_root,
        helper_1x_for_nobody,
        helper_021,
        hand_over,
        hand_over_untouched,
        executors_call,
    )
}


def traced(name: str, host: GoldenHost) -> list[str]:
    """The calls of the launch `name` on `host`."""
    words = LAUNCHES[name](host)
    programs = (str(host.shim.program), str(host.shim.helper))
    return trace(words, programs, host.cwd, host.root / "calls", host.inject)


def _agent(host: GoldenHost, uid: int = NOBODY) -> PlayedAgent:
    """An agent that has told a ContainerInfo in the way of every release, and the user's sandbox."""
    agent = PlayedAgent(host.root, host.shim)
    os.chown(agent.sandbox, uid, uid)
    told = wire.container_info(wire.volume("/tmp", "tmp"), wire.volume(str(host.place), "x"))
    agent.hold(told)
    agent.checkpoint(told)
    host.cwd = Path("/")
    return agent


def _packaged(host: GoldenHost) -> None:
    packaged = host.file("packaged")
    packaged.write_text("#!/bin/sh\n")
    packaged.chmod(0o755)
    host.shim.configure(packaged_helper=str(packaged))
