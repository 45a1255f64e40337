"""`mesos-shim usage`: what every container uses, once or again and again."""

import os
import sys
import time

from ..containers import record
from ..errors import ShimError, one_line
from ..spec.config import Config
from ..usage import sample
from ..usage.sample import Used
from . import agents_user, formats, options

HELP = """\
usage: mesos-shim usage [ID...] [--format FORMAT] [--watch SECONDS]

Shows what the containers on this host use: processes, CPU and memory, and also
disk if disk/du is one of the isolators.

  --format table       for people (default)
  --format json        Mesos' ResourceStatistics; with --watch one line a sample
  --format openmetrics for Prometheus and node_exporter's textfile collector
  --watch SECONDS      repeat until interrupted, and show shares of CPU
  --config FILE        another configuration (it names the state directory)

example: mesos-shim usage --watch 2
"""
_FORMATS = ("table", "json", "openmetrics")


def main(arguments: "list[str]", config_path: str) -> int:
    """Print what the containers use; 1 if one that was named does not run."""
    values, ids = options.parse(arguments, ("--format", "--watch", "--config"), (), "usage")
    if options.asks_help(values, HELP):
        return 0
    form = values.get("--format", "table")
    if form not in _FORMATS:
        raise ShimError(f"--format: {form!r} is not one of {', '.join(_FORMATS)}")
    config = options.read_config(values, config_path)
    if "--watch" in values:
        return _watch(config, ids, form, _seconds(values["--watch"], "--watch"))
    used, missing = _sample(config, ids, set())
    if form == "table":
        text = "\n".join(formats.table(used)) + "\n"
    else:
        text = formats.as_json(used) if form == "json" else formats.openmetrics(used)
    sys.stdout.write(text)
    return 1 if missing else 0


def _sample(config: Config, ids: "list[str]", said: "set[str]") -> "tuple[list[Used], bool]":
    """One sample, of the containers named; what is to be said goes to stderr, unless it was `said` before."""
    found = agents_user.look(config, sample.take)
    problems = [f"mesos-shim: warning: {one_line(warning)}\n" for warning in found.warnings]
    used = found.used
    missing = [name for name in ids if name not in {item.entry.container_id for item in used}]
    for name in missing:
        ended = "has ended" if name in found.ended else f"no such container in {record.state_dir(config.state_dir)}"
        problems.append(f"mesos-shim: usage: {one_line(name)}: {ended}\n")
    for line in problems:
        if line not in said:
            said.add(line)
            sys.stderr.write(line)
    return [item for item in used if not ids or item.entry.container_id in ids], bool(missing)


def _watch(config: Config, ids: "list[str]", form: str, interval: float) -> int:
    if form == "openmetrics":
        raise ShimError(
            "--watch: cannot be used with --format openmetrics, because Prometheus repeats the query itself"
        )
    earlier: dict[str, dict[str, object]] = {}
    said: set[str] = set()
    while True:
        used, _ = _sample(config, ids, said)
        try:
            sys.stdout.write(formats.as_json(used) if form == "json" else _screen(used, earlier))
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError:
            return 125  # what could not be written is still there: main says why when it tries again
        earlier = {item.entry.container_id: item.statistics for item in used}
        time.sleep(interval)


def _screen(used: "list[Used]", earlier: "dict[str, dict[str, object]]") -> str:
    """One refresh: on a terminal over the last one, as much as it shows; in a pipe a block of its own."""
    now = time.strftime("%H:%M:%S")
    if not (sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"):
        return "\n".join([now, *formats.table(used, earlier), "", ""])
    width, height = os.get_terminal_size(sys.stdout.fileno())
    used = sorted(used, key=lambda item: -_rate(item, earlier))
    lines = formats.table(used, earlier, width or 80)
    lines = _fit(lines, max(3, (height or 24) - 2))
    # Home, then each line cleared behind its text: no flicker, and nothing but what a VT100 knows.
    return "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in [now, *lines]) + "\x1b[J"


def _fit(lines: "list[str]", room: int) -> "list[str]":
    """As many lines as there is room for, the last one in any case, and how many are not shown."""
    if len(lines) <= room:
        return lines
    return [*lines[: room - 2], f"... {len(lines) - room + 1} more", lines[-1]]


def _rate(item: Used, earlier: "dict[str, dict[str, object]]") -> float:
    text = formats.share(item.statistics, earlier.get(item.entry.container_id))
    return float(text) if text else 0.0


def _seconds(text: str, name: str) -> float:
    """A positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.05 <= value < 1e7:  # also refuses nan
        raise ShimError(f"{name}: {text!r} is not a number of seconds from 0.05 on")
    return value
