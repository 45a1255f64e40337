"""Stages, activates and prunes releases on a host: `python3 -ISB release.py stage|activate|prune|status …`.

Run from an unpacked archive by the installer, so that a release is always staged by its own code and compiled by the
interpreter that will run it. Prints one JSON object; on failure one line on stderr, exit 1, and nothing is left behind.
A release directory is written once: root runs with -B, so that no .pyc appears in it later. What lies in it is listed
in files.json, which the collection compares with the host; one that is damaged is staged again (`--again`).
"""

import ctypes
import hashlib
import importlib
import importlib.util
import json
import os
import py_compile
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DEFAULT_PREFIX = Path("/opt/mesos-shim")
PROGRAMS = ("mesos-shim", "mesos-containerizer")
LIST = "files.json"  # of a release: the interpreter it was staged by, and each file with its mode and digest
_MAX_SHEBANG = 127  # older kernels cut it there (BINPRM_BUF_SIZE), execve(2)


class ReleaseError(Exception):
    """What kept a release from being staged or activated, in one line."""


def config_path(prefix: Path) -> Path:
    """Where the configuration of an installation at `prefix` lies."""
    base = Path("/") if prefix == DEFAULT_PREFIX else prefix
    return base / "etc/mesos-shim/config.json"


def stage(prefix: Path, source: Path, name: str, config: Path, check: bool, again: bool = False) -> "dict[str, object]":
    """Put the unpacked archive `source` in place as release `name`, compiled and tested; not yet in use.

    again: also where that release is there, in whose place it then comes, in use or not.
    """
    final = prefix / "releases" / name
    replaces = final.exists()
    if replaces and not again:
        return {"changed": False, "release": str(final)}
    if check:
        return {"changed": True, "release": str(final)}
    if not (source / "lib/mesos_shim/main.py").is_file():
        raise ReleaseError(f"{source}: not an unpacked release: lib/mesos_shim/main.py is missing")
    final.parent.mkdir(parents=True, exist_ok=True)
    for directory in (prefix, final.parent):
        _check_safe(directory)
    staging = final.parent / f".staging-{name}-{os.getpid()}"
    shutil.copytree(source, staging, symlinks=True)
    try:
        _write_programs(staging, final, config)
        _compile(staging / "lib", final / "lib")
        _set_modes(staging)
        _list_files(staging)
        if replaces:
            _keep_activations(final, staging)
            _exchange(staging, final)
        else:
            staging.rename(final)
        try:
            self_test(final)
        except ReleaseError:
            if replaces:
                _exchange(staging, final)
            else:
                shutil.rmtree(final)
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return {"changed": True, "release": str(final)}


def _check_safe(directory: Path) -> None:
    status = directory.stat()
    if _ours("system.files").others_write(status):
        raise ReleaseError(
            f"{directory}: owned by uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}, so "
            "others could replace what root runs; chown it to yourself and chmod go-w it"
        )


def _write_programs(staging: Path, final: Path, config: Path) -> None:
    python = sys.executable
    if len(python) + len("#! -ISBXutf8") > _MAX_SHEBANG or " " in python:
        raise ReleaseError(f"interpreter {python!r}: its path is too long or has a space, so no script can name it")
    package = staging / "lib/mesos_shim/bundle"  # the archive's own
    sys.modules["bundle"] = _loaded("bundle", package / "__init__.py", [str(package)])
    bundle = importlib.import_module("bundle.pack")
    (staging / "bin").mkdir()
    for name in PROGRAMS:
        agent = name == "mesos-containerizer"
        packed = bundle.pack(staging / "lib", final / "lib", name, config, agent)
        (staging / "lib" / f"{name}.bundle").write_bytes(packed.data)
        text = bundle.program(python, final / "lib", final / "lib" / f"{name}.bundle", packed.first, config, agent)
        (staging / "bin" / name).write_text(text, encoding="utf-8")


def _compile(lib: Path, final_lib: Path) -> None:
    for source in sorted(lib.rglob("*.py")):
        # Unchecked: the sources of a staged release never change, so no launch needs to look at them.
        py_compile.compile(
            str(source),
            dfile=str(final_lib / source.relative_to(lib)),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def _set_modes(tree: Path) -> None:
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        if path.is_symlink():
            raise ReleaseError(f"{path}: a release holds no links")
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)


def _list_files(tree: Path) -> None:
    files = {}
    for path in sorted(tree.rglob("*")):
        digest = None if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        files[str(path.relative_to(tree))] = [stat.S_IMODE(path.stat().st_mode), digest]
    # The programs name this interpreter, and their bundles hold bytecode of this version (bundle/pack.py).
    made = {"python": sys.executable, "version": sys.hexversion >> 16, "files": files}
    listed = tree / LIST
    listed.write_text(json.dumps(made, sort_keys=True, indent=1) + "\n", encoding="utf-8")
    listed.chmod(0o644)


def _keep_activations(old: Path, new: Path) -> None:
    """Of the release that is replaced: when it was the current one, and its place among the others."""
    found = old.stat()
    if (old / _ACTIVATIONS).is_file():
        shutil.copy2(old / _ACTIVATIONS, new / _ACTIVATIONS)
    os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns))


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # openat(2), renameat2(2)


def _exchange(one: Path, other: Path) -> None:
    """Have two directories take each other's place, at once where the system can: launches go on meanwhile."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is not None and rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return
    aside = one.with_name(one.name + "-aside")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def self_test(release: Path) -> None:
    """Run the staged programs: the interpreter starts, the package imports, a plan can be made."""
    shim = release / "bin/mesos-shim"
    for arguments in (["--version"], ["validate", "-"]):
        text = '{"type": "MESOS", "volumes": []}'
        done = subprocess.run(
            [str(shim), *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ReleaseError(f"self-test: mesos-shim {arguments[0]} ended with {done.returncode}: {said[-1:]}")


def activate(prefix: Path, name: str, helpers: "Path | None", check: bool) -> "dict[str, object]":
    """Make the staged release `name` the current one by one rename, and see to bin/, share/ and launcher/."""
    if not (prefix / "releases" / name / "bin/mesos-shim").is_file():
        raise ReleaseError(f"{prefix}/releases/{name}: no such release; stage it first")
    previous = current(prefix)
    links = {prefix / "current": f"releases/{name}"}
    for program in PROGRAMS:
        links[prefix / "bin" / program] = f"../current/bin/{program}"
    links[prefix / "launcher/mesos-containerizer"] = "../current/bin/mesos-containerizer"
    share = prefix / "share"
    # A prefix such as /usr/local has a directory of its own there.
    if (prefix / "releases" / name / "share").is_dir() and (share.is_symlink() or not share.exists()):
        links[share] = "current/share"
    if helpers is not None:
        for helper in sorted(helpers.iterdir()):
            if helper.name != "mesos-containerizer":
                links[prefix / "launcher" / helper.name] = str(helper)
    wrong = {path: target for path, target in links.items() if not path.is_symlink() or os.readlink(path) != target}
    if not check:
        if prefix / "current" in wrong:
            _note_activation(prefix / "releases" / name)
        # `current` last: what it leads to is complete when it moves.
        for path in sorted(wrong, key=lambda path: path.name == "current"):
            _link(path, wrong[path])
    return {"changed": bool(wrong), "previous": previous, "current": name}


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    temporary = path.parent / f".{path.name}-{os.getpid()}"
    temporary.symlink_to(target)
    temporary.replace(path)


def current(prefix: Path) -> "str | None":
    """The name of the release in use."""
    try:
        return Path(os.readlink(prefix / "current")).name
    except FileNotFoundError:
        return None


def releases(prefix: Path) -> "list[str]":
    """All staged releases, oldest first."""
    directory = prefix / "releases"
    if not directory.is_dir():
        return []
    found = [path for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [path.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))]


def prune(prefix: Path, keep: int, check: bool, needed: "tuple[str, ...]" = ()) -> "dict[str, object]":
    """Remove old releases: the `keep` newest stay, the current one, the `needed` and any that a process runs from."""
    names = releases(prefix)
    used = in_use(prefix)
    stay = set(names[len(names) - keep :] if keep else []) | used | {current(prefix)} | set(needed)
    gone = [name for name in names if name not in stay]
    if not check:
        for name in gone:
            shutil.rmtree(prefix / "releases" / name)
    return {"changed": bool(gone), "removed": gone, "in_use": sorted(used)}


def in_use(prefix: Path) -> "set[str]":
    """Releases that a running process was started from: a supervisor, an agent's helper.

    All of them where that cannot be told: nothing that may be in use is removed.
    """
    if sys.platform != "linux":
        return set()  # there is no /proc
    used: set[str] = set()
    end = time.monotonic() + _MAX_SECONDS
    try:
        names = [name for name in os.listdir("/proc") if name.isascii() and name.isdigit()]
        for name in names:
            used |= _used_by(prefix, Path("/proc") / name)
            if time.monotonic() > end:
                return set(releases(prefix))
    except (OSError, ValueError, IndexError):
        return set(releases(prefix))
    hidden = "1" not in names  # proc(5), hidepid
    return set(releases(prefix)) if hidden else {name for name in used if name}


def _used_by(prefix: Path, process: Path) -> "set[str]":
    """The releases that one process may have been started from. Raises OSError, ValueError, IndexError."""
    proc, start = _ours("system.proc"), str(prefix / "releases") + "/"
    try:
        words = [os.fsdecode(word) for word in (process / "cmdline").read_bytes().split(b"\0")[:3]]
        script = next((word for word in words if word.startswith("/") and _below(prefix, word)), None)
        if script is None:
            return set()
        # Through a link the name says nothing of the release: what it has open or mapped would not either,
        # so a process started by the link counts for the release its start fell into.
        if script.startswith(start):
            return {script[len(start) :].split("/")[0]}
        fields = proc.stat(process.name)
    except (FileNotFoundError, ProcessLookupError):
        return set()  # it has ended
    return _current_at(prefix, int(fields[proc.START]) / os.sysconf("SC_CLK_TCK"))


def _below(prefix: Path, path: str) -> bool:
    """Whether a path leads into the prefix, by itself or by a link that an operator has made elsewhere."""
    if path.startswith(f"{prefix}/"):
        return True
    target = _link_of_ours(path)
    return target is not None and target.startswith(f"{os.path.realpath(prefix)}/")


def _link_of_ours(path: str) -> "str | None":
    """Where `path`, a word that anybody may have put into a command line, leads; None where it may not be followed.

    Only through directories and links that nobody but root and we could have made, and onto no FUSE mount: whoever
    could is not asked, for the answer may never come.
    """
    guarded_walk = _ours("system.guarded_walk")
    is_trusted, done = _ours("system.files").is_trusted, "/"
    pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    for _ in range(_MAX_STEPS):
        if not pending:
            return done
        name = pending.pop()
        if name == "..":
            done = os.path.dirname(done)
            continue
        try:
            status, link = _entry(guarded_walk, done, name)
        except (OSError, ValueError):
            return None
        if link is not None and is_trusted(status):
            pending += [part for part in reversed(link.split("/")) if part not in ("", ".")]
            done = "/" if link.startswith("/") else done
        elif is_trusted(status) and (status.st_mode & stat.S_ISVTX or not status.st_mode & 0o022):
            done = os.path.join(done, name)
        else:
            return None
    return None


def _entry(guarded_walk: "Any", directory: str, name: str) -> "tuple[os.stat_result, str | None]":
    """Status of an entry, and where it leads if it is a link. Raises OSError, ValueError."""
    parent = guarded_walk.walk(directory)
    try:
        fd = guarded_walk.step(parent, name)
    finally:
        os.close(parent)
    try:
        status = os.fstat(fd)
        return status, os.readlink("", dir_fd=fd) if stat.S_ISLNK(status.st_mode) else None
    finally:
        os.close(fd)


_MAX_STEPS = 64
_MAX_SECONDS = 30.0  # for the command lines of all processes


def _ours(name: str) -> "Any":
    """A module of the release that this file lies in. Run as a program this one has no package around it yet."""
    if "mesos_shim" not in sys.modules:
        directory = Path(__file__).parent
        sys.modules["mesos_shim"] = _loaded("mesos_shim", directory / "__init__.py", [str(directory)])
    return importlib.import_module(f"mesos_shim.{name}")


def _loaded(name: str, path: Path, modules: "list[str] | None" = None) -> "Any":
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=modules)
    if spec is None or spec.loader is None:
        raise ReleaseError(f"{path}: cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_ACTIVATIONS = "activations"  # in a release: a line for each time that it became the current one
# Between a process's start and its exec of the program, and between a note of ours and the switch itself.
_SLACK = 2.0


def _boot() -> "tuple[str, float] | None":
    """Which boot this is, and its age in seconds, from which /proc counts a process's start whoever sets the clock."""
    boot = _ours("system.proc").boot_id()
    return None if boot is None else (boot, time.clock_gettime(time.CLOCK_BOOTTIME))


def _note_activation(release: Path) -> None:
    """Remember when a release becomes the current one. Its place among the others stays that of its staging."""
    boot = _boot()
    if boot is None:
        return
    found = release.stat()
    with (release / _ACTIVATIONS).open("a") as file:
        file.write(f"{time.time():.2f} {boot[0]} {boot[1]:.2f}\n")
    os.utime(release, ns=(found.st_atime_ns, found.st_mtime_ns))


def _current_at(prefix: Path, seconds: float) -> "set[str]":
    """The releases that may have been the current one so many seconds after this boot."""
    boot = _boot()
    moments = []  # (wall clock, seconds after this boot; before it: 0, name)
    for name in releases(prefix):
        try:
            lines = (prefix / "releases" / name / _ACTIVATIONS).read_text().splitlines()
        except FileNotFoundError:
            continue  # never the current one, or staged by a version that kept no such file
        for when, boot_id, since in (line.split() for line in lines):
            moments.append((float(when), float(since) if boot and boot_id == boot[0] else 0.0, name))
    moments.sort()
    before = [name for _, since, name in moments if since <= seconds - _SLACK]
    near = {name for _, since, name in moments if abs(since - seconds) < _SLACK}
    if before:
        return near | {before[-1]}
    # It started before the first note: the newest that was staged by then.
    wall = time.time() - (boot[1] - seconds) if boot else time.time()
    older = [name for name in releases(prefix) if (prefix / "releases" / name).stat().st_mtime <= wall + _SLACK]
    return near | set(older[-1:])


def status(prefix: Path) -> "dict[str, object]":
    """What is installed at `prefix`."""
    return {"releases": releases(prefix), "current": current(prefix), "config": str(config_path(prefix))}


def _arguments(arguments: "list[str]") -> "dict[str, str]":
    names = ("--prefix", "--source", "--name", "--config", "--helpers", "--keep", "--needed")
    options = {}
    words = iter(arguments)
    for word in words:
        if word in ("--check", "--again"):
            options[word] = "yes"
        elif word in names:
            options[word] = next(words, "")
        else:
            raise ReleaseError(f"{word}: unknown option; known: --check, --again, {', '.join(names)}")
    if not options.get("--prefix", "").startswith("/"):
        raise ReleaseError("--prefix: an absolute directory is required")
    return options


def main(arguments: "list[str]") -> int:
    """One command; prints its JSON result."""
    os.umask(0o022)
    try:
        action = arguments[0] if arguments else ""
        options = _arguments(arguments[1:])
        prefix = Path(options["--prefix"])
        check = "--check" in options
        if action == "stage":
            config = Path(options.get("--config") or config_path(prefix))
            result = stage(prefix, Path(options["--source"]), options["--name"], config, check, "--again" in options)
        elif action == "activate":
            helpers = Path(options["--helpers"]) if options.get("--helpers") else None
            result = activate(prefix, options["--name"], helpers, check)
        elif action == "prune":
            needed = tuple(name for name in options.get("--needed", "").split(",") if name)
            result = prune(prefix, int(options["--keep"]), check, needed)
        elif action == "status":
            result = status(prefix)
        else:
            raise ReleaseError(f"{action!r}: not one of stage, activate, prune, status")
    except KeyError as error:
        print(f"release: {error.args[0]}: required", file=sys.stderr)
        return 1
    except (ReleaseError, OSError, ValueError, py_compile.PyCompileError, subprocess.TimeoutExpired) as error:
        print(f"release: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    # Python puts the script's own directory first; nothing of it may stand in for the standard library.
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]
    sys.exit(main(sys.argv[1:]))
