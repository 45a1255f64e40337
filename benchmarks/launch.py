"""A launch with a private /tmp beside the bare interpreter and the other ways to get one; with 20 volumes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import measure
from .bench import Bench, Row
from .measure import Command, Summary

# Mesos 0.21.2's own helper, as it was measured once beside a bare interpreter of 7.4 / 10.0 ms.
MESOS_021 = "not in Debian's or PyPI's registry; measured once, elsewhere: 40.1 ms, 5.2x its bare interpreter"


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The rows of this module."""
    yield from _beside_others(bench)
    yield "volumes", _volumes(bench)


def _beside_others(bench: Bench) -> Iterator[tuple[str, Row]]:
    ours = bench.launch()
    # What no program in this language can go below: the interpreter's start, and the command's.
    becomes = "import posix; posix.execv('/bin/true', ['true'])"
    # The others bind a directory that is there; so do we, from the second launch in a sandbox on.
    fresh = bench.launch(fresh=True)
    cases = {
        "bare": bench.bare,
        "ours": ours,
        "ours, fresh": fresh,
        "floor": Command([bench.python, "-ISB", "-c", becomes]),
    }
    found = measure.alternate(cases, bench.runs)
    by_bare = measure.ratio(found["ours"], found["bare"])
    yield (
        "launch",
        Row(
            "`run` of `/bin/true`, one private `/tmp`",
            "bare `python3 -IS -c pass`",
            "p25 at most 1.25x",
            f"**{by_bare['p25']:.2f}x** ({found['ours'].p25:.1f} ms; with its directory to be made "
            f"{_by(found, 'ours, fresh', 'bare'):.2f}x; floor {_by(found, 'floor', 'bare'):.2f}x)",
            by_bare["p25"] <= 1.25,
            {"milliseconds": measure.plain(found), "ratio": by_bare},
            {"Mesos 0.21.2's helper": MESOS_021},
        ),
    )
    peers, unavailable = _peers(bench)
    try:
        found = measure.alternate({"ours": ours, **peers}, bench.runs)
    finally:
        _unmount(bench)
    ratios = {name: measure.ratio(found["ours"], found[name]) for name in peers}
    said = [f"{name} {found[name].p25:.1f} ms, ours {values['p25']:.2f}x" for name, values in ratios.items()]
    yield (
        "peers",
        Row(
            "the same",
            ", ".join([*peers, *unavailable]),
            "at most half of runc; the factor to bubblewrap stated",
            "; ".join(said),
            ratios["runc"]["p25"] <= 0.5 if "runc" in ratios else None,
            {"milliseconds": measure.plain(found), "ratios": ratios},
            unavailable,
        ),
    )


def _by(found: dict[str, Summary], one: str, other: str) -> float:
    return found[one].p25 / found[other].p25


def _peers(bench: Bench) -> tuple[dict[str, Command], dict[str, str]]:
    """The programs that are here, ready to run, and why the others are not."""
    peers: dict[str, Command] = {}
    unavailable: dict[str, str] = {}
    for name, make in (("runc", _runc), ("bubblewrap", _bubblewrap), ("unshare+mount", _unshare)):
        command = make(bench)
        try:
            command()
            peers[name] = command
        except (RuntimeError, OSError) as error:
            unavailable[name] = str(error)
    if Path("/run/systemd/system").is_dir():
        words = ["/usr/bin/systemd-run", "--quiet", "--wait", "--collect", "-p", "PrivateTmp=yes", "/bin/true"]
        peers["systemd-run"] = Command(words)
    else:
        unavailable["systemd-run"] = "systemd does not run here"
    return peers, unavailable


def _private(bench: Bench) -> tuple[str, str]:
    sandbox = bench.sandbox()
    tmp = f"{sandbox}/tmp"
    os.mkdir(tmp, 0o1777)
    return sandbox, tmp


def _bubblewrap(bench: Bench) -> Command:
    sandbox, tmp = _private(bench)
    return Command(
        [shutil.which("bwrap") or "bwrap", "--dev-bind", "/", "/", "--bind", tmp, "/tmp", "/bin/true"], sandbox
    )


def _unshare(bench: Bench) -> Command:
    sandbox, tmp = _private(bench)
    script = f"mount --bind {tmp} /tmp && exec /bin/true"
    return Command(["/usr/bin/unshare", "-m", "/bin/sh", "-c", script], sandbox)


def _runc(bench: Bench) -> Command:
    """The host's files as the root, one bind mount over /tmp, a mount namespace and nothing else of its own."""
    sandbox, tmp = _private(bench)
    root = _root(bench)
    root.mkdir()
    subprocess.run(["mount", "--rbind", "/", str(root)], check=True)
    subprocess.run(["mount", "--make-rslave", str(root)], check=True)
    config = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "env": ["PATH=/usr/bin:/bin"]},
        "root": {"path": str(root)},
        "mounts": [{"destination": "/tmp", "type": "bind", "source": tmp, "options": ["bind", "rw"]}],
        "linux": {"namespaces": [{"type": "mount"}]},
    }
    Path(sandbox, "config.json").write_text(json.dumps(config))
    runc = shutil.which("runc") or "runc"
    return Command([runc, "--root", f"{bench.state}/runc", "run", "--bundle", sandbox, "bench"], sandbox)


def _root(bench: Bench) -> Path:
    return bench.root / "rootfs"


def _unmount(bench: Bench) -> None:
    if _root(bench).is_dir():
        subprocess.run(["umount", "--recursive", "--lazy", str(_root(bench))], check=True)
        _root(bench).rmdir()


def _volumes(bench: Bench) -> Row:
    targets = bench.root / "targets"
    options = []
    for number in range(20):
        (targets / str(number)).mkdir(parents=True)
        options += ["--volume", f"v{number}:{targets}/{number}"]
    cases = {"one": bench.launch(*options[:2]), "twenty": bench.launch(*options), "bare": bench.bare}
    found = measure.alternate(cases, bench.runs)
    by_one = measure.ratio(found["twenty"], found["one"])
    return Row(
        "the same with 20 volumes",
        "itself with one",
        "at most 1.3x",
        f"**{by_one['p25']:.2f}x** ({found['twenty'].p25:.1f} ms)",
        by_one["p25"] <= 1.3,
        {"milliseconds": measure.plain(found), "ratio": by_one},
    )
