"""The plans whose `explain --json` is kept in expected/plans: a function each prepares the host and the options.

cgroups are left out: their steps are those of the host's own hierarchies (tests/isolators/test_cgroups.py has them).
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
from typing import Any

from ..lib.launching import info, volume
from ..lib.shim import NOBODY
from .host import GoldenHost

# Who made a private directory: pid, start time, boot, pid namespace.
_MAKER = re.compile(r"@\d+-\d+@[0-9a-f]+-\d+")


def private_tmp(host: GoldenHost) -> None:
    host.volumes("tmp:/tmp")


def nested_and_mirrored(host: GoldenHost) -> None:
    """A volume in a volume, and one whose host_path is the path that it covers: each level looks like the target's."""
    inner = host.directory("place/inner", mode=0o2750, uid=NOBODY)
    deep = host.directory("deep/er", mode=0o1777)
    host.directory("deep", mode=0o711)
    host.volumes(f"inner:{inner}", f"outer:{host.place}", f"{str(deep)[1:]}:{deep}")


def read_only_absolute(host: GoldenHost) -> None:
    """A directory over a directory, a file over a file; the sandbox below what is covered stays."""
    host.cwd = host.directory("place/sandbox")
    host.volumes(f"{host.directory('data')}:{host.place}:RO", f"{host.file('one')}:{host.file('two')}:RO")


def tmpfs(host: GoldenHost) -> None:
    sizes = {"shm": "64k", "run": {"size": "1m", "noexec": True}}
    host.shim.configure(tmpfs={str(host.directory(name, mode=0o1777)): size for name, size in sizes.items()})


def private_directories_in_the_sandbox(host: GoldenHost) -> None:
    """One of them with a size, which is counted; a volume for the same path wins."""
    names: dict[str, object] = {"place": {"noexec": True}, "place/inner": {"size": "1m"}, "other": {}}
    settings = {str(host.directory(name, mode=0o1777)): more for name, more in names.items()}
    host.shim.configure(private_directories=settings)
    host.volumes(f"own:{host.root / 'other'}")
    host.options += ["--isolation", "filesystem/shared,posix/cpu,disk/du"]


def private_directories_in_a_base(host: GoldenHost) -> None:
    base = {"base": str(host.directory("base"))}
    names = ("place", "place/inner")
    host.shim.configure(private_directories={str(host.directory(name, mode=0o1777)): base for name in names})
    host.options += ["--supervise"]


def hide_work_dir(host: GoldenHost) -> None:
    """The agent's own directory, below what a volume covers; of it the sandbox alone is seen."""
    host.cwd = host.directory("place/work/slaves/S/frameworks/F/executors/E/runs/R")
    host.shim.configure(hide_work_dir=True, work_dir=str(host.root / "place/work"))
    host.volumes(f"x:{host.place}")


def pass_through(host: GoldenHost) -> None:
    """Only what is below a covered path is passed through."""
    for name in ("place/socket", "place/files.a", "place/files.b", "elsewhere"):
        host.file(name)
    names = (host.place / "socket", host.place / "files.*", host.root / "elsewhere")
    host.shim.configure(pass_through=[str(names[0]), {"path": str(names[1]), "mode": "RW"}, str(names[2])])
    host.volumes(f"x:{host.place}")


def namespaces_pid_and_ipc(host: GoldenHost) -> None:
    host.volumes("tmp:/tmp")
    host.options += ["--isolation", "filesystem/shared,namespaces/pid,namespaces/ipc"]


def user_nobody(host: GoldenHost) -> None:
    """Covers what that user could not have changed: no_new_privs."""
    host.directory("sandbox", uid=NOBODY)
    host.volumes("tmp:/tmp", f"x:{host.place}")
    host.options += ["--user", "nobody"]


def ordinary_user(host: GoldenHost) -> None:
    host.ordinary_user()
    host.volumes("tmp:/tmp", f"x:{host.place}", f"{host.directory('data')}:{host.directory('opt')}:RO")


def rm(host: GoldenHost) -> None:
    """In a sandbox that the launch would make."""
    host.volumes(f"x:{host.place}")
    host.options += ["--rm", "--user", "nobody"]


def operators_default(host: GoldenHost) -> None:
    """The operator's ContainerInfo, limits that nothing enforces, and a parent that stays for --status-fd."""
    default = json.loads(info(volume("x", host.place), volume(host.directory("data"), host.directory("opt"), "RO")))
    host.shim.configure(default_container_info=default, default_limits={"cpus": 1, "mem": 64})
    host.options += ["--cpus", "2", "--status-fd", "1"]


def usage_only(host: GoldenHost) -> None:
    """What cannot be had, where the operator would rather have the command without."""
    host.volumes("tmp:/tmp")
    host.options += ["--isolation", "posix/cpu", "--on-unenforceable", "usage-only"]


PLANS = {
    plan.__name__: plan
    for plan in (
        private_tmp,
        nested_and_mirrored,
        read_only_absolute,
        tmpfs,
        private_directories_in_the_sandbox,
        private_directories_in_a_base,
        hide_work_dir,
        pass_through,
        namespaces_pid_and_ipc,
        user_nobody,
        ordinary_user,
        rm,
        operators_default,
        usage_only,
    )
}


def explained(name: str, host: GoldenHost) -> dict[str, Any]:
    """The plan `name` as `explain` shows it on `host`, with placeholders for what differs from host to host."""
    PLANS[name](host)
    words = host.words("explain", "--json")
    done = subprocess.run(words, cwd=host.cwd, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    text = _MAKER.sub("@MAKER", done.stdout)
    plan: dict[str, Any] = json.loads(text)
    for step in plan["steps"]:
        _drop_inherited(step)
    text = json.dumps(plan, ensure_ascii=False).replace(str(host.root), "/HOST")
    plan = json.loads(text, object_hook=_without_ids)
    # Whether a host shows its message queues as files, which are then mounted anew, differs as well.
    plan["steps"] = [step for step in plan["steps"] if step["action"] != "mqueue"]
    return plan


_OPTIONS = (("nosuid", os.ST_NOSUID), ("nodev", os.ST_NODEV), ("noexec", os.ST_NOEXEC))


def _drop_inherited(step: dict[str, Any]) -> None:
    """What is made in a sandbox keeps the options of what it covers: here of the host's own /tmp and /var/tmp."""
    if "options" not in step:
        return
    flags = os.statvfs(step["target"]).f_flag
    inherited = [name for name, flag in _OPTIONS if flags & flag]
    left = [name for name in step.pop("options") if name not in inherited]
    if left:
        step["options"] = left


def _without_ids(found: dict[str, object]) -> dict[str, object]:
    """The object with words in the place of nobody's ids, which differ too."""
    nobody = pwd.getpwuid(NOBODY)
    words = {"uid": nobody.pw_uid, "gid": nobody.pw_gid, "groups": os.getgrouplist(nobody.pw_name, nobody.pw_gid)}
    return {key: f"NOBODY'S {key}" if words.get(key) == value else value for key, value in found.items()}
