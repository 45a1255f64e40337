"""The three formats: names that others rely on, the official parsers, hostile names, a bad terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from mesos_shim.commands import formats, usage

from ..lib.containers import Starter, running
from ..lib.records import STATISTICS, used
from ..lib.shim import Shim
from ..lib.waiting import SECONDS, wait_until

# Everything that a label, a table and a terminal can stumble over.
HOSTILE = 'e"x\\e\ncu\ttor\x1b[31m€\x7f'


def samples(text: str) -> dict[str, list[Any]]:
    """Samples by name, as the official parser of OpenMetrics reads them."""
    found: dict[str, list[Any]] = {}
    for family in openmetrics.text_string_to_metric_families(text):
        assert family.documentation.endswith(".")
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def test_openmetrics_by_the_official_parser() -> None:
    found = samples(formats.openmetrics([used("a"), used("b", mode="usage-only", executor_id=None)]))
    values = {name: [sample.value for sample in items] for name, items in found.items()}
    assert values == {
        "mesos_container_enforced": [1, 0],
        "mesos_container_processes": [3, 3],
        "mesos_container_threads": [7, 7],
        "mesos_container_cpu_user_seconds_total": [1.5, 1.5],
        "mesos_container_cpu_system_seconds_total": [0.25, 0.25],
        "mesos_container_cpu_limit_cpus": [0.5, 0.5],
        "mesos_container_cpu_periods_total": [10, 10],
        "mesos_container_cpu_throttled_periods_total": [4, 4],
        "mesos_container_cpu_throttled_seconds_total": [0.75, 0.75],
        "mesos_container_memory_rss_bytes": [1048576, 1048576],
        "mesos_container_memory_total_bytes": [2097152, 2097152],
        "mesos_container_memory_limit_bytes": [67108864, 67108864],
        "mesos_container_disk_used_bytes": [123456, 123456],
    }
    first, second = found["mesos_container_enforced"]
    assert first.labels == {
        "container_id": "a",
        "executor_id": "exec",
        "framework_id": "frame",
        "mode": "enforced",
        "isolation": "posix/cpu",
    }
    assert (second.labels["mode"], "executor_id" in second.labels) == ("usage-only", False)


def test_counters_and_units_are_declared() -> None:
    families = {f.name: f for f in openmetrics.text_string_to_metric_families(formats.openmetrics([used()]))}
    assert (families["mesos_container_cpu_user_seconds"].type, families["mesos_container_cpu_user_seconds"].unit) == (
        "counter",
        "seconds",
    )
    assert families["mesos_container_memory_rss_bytes"].unit == "bytes"


def test_hostile_names_are_labels_like_any_other() -> None:
    found = samples(formats.openmetrics([used(executor_id=HOSTILE)]))
    assert all(sample.labels["executor_id"] == HOSTILE for items in found.values() for sample in items)


def test_lone_surrogates_do_not_break_the_exposition() -> None:
    text = formats.openmetrics([used(executor_id="\udcff")])
    assert samples(text)["mesos_container_enforced"][0].labels["executor_id"] == "?"
    text.encode("utf-8")


def test_no_containers_is_a_valid_exposition() -> None:
    assert samples(formats.openmetrics([])) == {}


def test_the_textfile_collector_reads_it_too() -> None:
    """node_exporter reads the older text format: no types that it does not know, and no timestamps."""
    text = formats.openmetrics([used()])
    found = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert found["mesos_container_memory_rss_bytes"].samples[0].value == 1048576
    known = {"counter", "gauge", "histogram", "summary", "untyped"}
    assert set(re.findall(r"^# TYPE \S+ (\S+)$", text, re.MULTILINE)) <= known
    assert all(sample.timestamp is None for family in found.values() for sample in family.samples)


def test_json_has_the_names_that_others_rely_on() -> None:
    (found,) = json.loads(formats.as_json([used(volumes=[{"container_path": "/t", "host_path": "t", "mode": "RO"}])]))
    assert found == {
        "container_id": "c-1",
        "executor_id": "exec",
        "framework_id": "frame",
        "pid": 10,
        "mode": "enforced",
        "isolation": ["posix/cpu"],
        "volumes": [{"container_path": "/t", "host_path": "t", "mode": "RO"}],
        "statistics": STATISTICS,
    }


def test_ps_prints_the_same_without_statistics(start: Starter, shim: Shim) -> None:
    start()
    (item,) = json.loads(shim.run("usage", "--format", "json").stdout)
    del item["statistics"]
    assert json.loads(shim.run("ps", "--json").stdout) == [item]


def test_the_table_has_totals() -> None:
    lines = formats.table([used("a"), used("b")])
    assert lines[0].split() == ["CONTAINER", "PID", "MODE", "PROCS", "THREADS", "CPU", "SECS", "RSS", "LIMIT", "DISK"]
    assert lines[1].split() == ["a", "10", "enforced", "3", "7", "1.75", "1.0M", "64M", "121K"]
    assert lines[-1].split() == ["2", "containers", "6", "14", "3.50", "2.0M", "128M", "241K"]
    assert len({len(line) for line in lines}) == 1  # aligned


def test_the_table_shows_shares_of_cpu_from_the_second_look_on() -> None:
    earlier = {**STATISTICS, "timestamp": 1699999998.5, "cpus_user_time_secs": 0.5}
    lines = formats.table([used("a")], {"a": earlier})
    assert lines[0].split()[5:8] == ["CPU", "SECS", "CPU"]
    assert lines[1].split()[6] == "50.0"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1024, "1.0K"),
        (10240, "10K"),
        (1 << 20, "1.0M"),
        (3 << 40, "3.0T"),
        (5000 << 40, "5000.0T"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert formats._bytes(size) == text


def test_a_hostile_id_cannot_reach_the_terminal(shim: Shim) -> None:
    """An id is checked; what stands in other fields is escaped."""
    (shim.state_dir / "containers").mkdir(parents=True)
    record = {
        "version": 1,
        "container_id": "x",
        "pid": os.getpid(),
        "mode": "enforced",
        "sandbox": "/\x1b[2J\n",
        "uid": 0,
    }
    start_time = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    record.update(start_time=start_time, isolation=[HOSTILE])
    (shim.state_dir / "containers/x.json").write_text(json.dumps(record))
    for asked in (["ps"], ["usage"], ["usage", "--watch", "0.05"]):
        words = [str(shim.program), *asked]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            out = process.stdout.read(200)
            process.send_signal(signal.SIGINT)
            out += process.communicate()[0]
        assert b"\x1b" not in out
        assert b"x" in out


def test_naming_containers_shows_only_those(start: Starter, shim: Shim) -> None:
    for name in ("a", "b", "c"):
        start(name=name)
    done = shim.run("usage", "--format", "json", "c", "a")
    assert [item["container_id"] for item in json.loads(done.stdout)] == ["a", "c"]
    done = shim.run("usage", "b", "nobody")
    assert done.returncode == 1
    assert done.stderr == f"mesos-shim: usage: nobody: no such container in {shim.state_dir}\n"
    assert "b " in done.stdout


def test_a_container_that_has_ended_is_said_so(start: Starter, shim: Shim) -> None:
    start().end()
    done = shim.run("usage", "c1")
    assert (done.returncode, done.stderr) == (1, "mesos-shim: usage: c1: has ended\n")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--format", "xml"), "--format: 'xml' is not one of table, json, openmetrics"),
        (("--watch", "0"), "--watch: '0' is not a number of seconds from 0.05 on"),
        (("--watch", "nan"), "--watch: 'nan' is not"),
        (("--watch",), "usage: --watch: a value is missing"),
        (("--watch", "1", "--watch", "2"), "usage: --watch: given twice"),
        (("--bogus",), "usage: '--bogus': unknown option; 'mesos-shim usage --help' lists them"),
        (("--watch", "1", "--format", "openmetrics"), "--watch: cannot be used with --format openmetrics"),
    ],
)
def test_wrong_arguments(shim: Shim, words: tuple[str, ...], why: str) -> None:
    done = shim.run("usage", *words)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"mesos-shim: {why}")
    assert done.stderr.count("\n") == 1


class Screen:
    """`usage --watch` on a terminal of a given kind and size."""

    def __init__(self, shim: Shim, term: str, rows: int, columns: int) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(
                shim.program, ["mesos-shim", "usage", "--watch", "0.1"], {"TERM": term, "PATH": os.environ["PATH"]}
            )
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.said = b""

    def until(self, pattern: bytes) -> bytes:
        deadline = time.monotonic() + SECONDS
        while not re.search(pattern, self.said, re.DOTALL):
            assert time.monotonic() < deadline, self.said
            if select.select([self.terminal], [], [], 1)[0]:
                self.said += os.read(self.terminal, 65536)
        return self.said

    def end(self) -> int:
        """Interrupt it at the terminal; its exit status."""
        os.write(self.terminal, b"\x03")
        with contextlib.suppress(OSError):  # EIO at its end
            while True:
                self.said += os.read(self.terminal, 65536)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.terminal)
        return status


@pytest.fixture
def many(start: Starter, shim: Shim) -> Iterator[list[str]]:
    """More containers than a small screen has lines."""
    names = [f"container-{index}" for index in range(8)]
    for name in names:
        start("--isolation", "posix/cpu", name=name, command=["cat"])
    wait_until(lambda: running(shim) == names, "all of them")
    return names


def test_watch_refreshes_a_terminal_in_place(shim: Shim, many: list[str]) -> None:
    screen = Screen(shim, "vt100", 40, 100)
    # The first frame may come before the size is set and all records are there.
    said = screen.until(rb"(\x1b\[H.*?8 containers.*?){3}").split(b"\x1b[H")
    assert screen.end() == 130
    frame = said[2]
    assert all(name.encode() in frame for name in many)
    assert frame.count(b"\x1b[K\r\n") == 1 + 1 + 8 + 1  # the time, the head, the containers, the totals
    assert set(re.findall(rb"\x1b\[[0-9;]*[A-Za-z]", frame)) == {b"\x1b[K", b"\x1b[J"}  # nothing that a VT100 lacks


def test_watch_fits_a_small_terminal(shim: Shim, many: list[str]) -> None:
    screen = Screen(shim, "xterm", 8, 30)
    said = screen.until(rb"(\x1b\[H.*?more.*?8 containers.*?){3}").split(b"\x1b[H")
    screen.end()
    lines = said[2].replace(b"\x1b[J", b"").replace(b"\x1b[K", b"").split(b"\r\n")
    assert len(lines) <= 8
    assert max(map(len, lines)) <= 30
    assert lines[-2].startswith(b"8 containers")


def test_watch_on_a_dumb_terminal_and_in_a_pipe_prints_blocks(shim: Shim, many: list[str]) -> None:
    screen = Screen(shim, "dumb", 40, 100)
    said = screen.until(rb"(8 containers.*?){2}")
    screen.end()
    assert b"\x1b" not in said
    words = [str(shim.program), "usage", "--watch", "0.1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(24)]
        process.send_signal(signal.SIGINT)
        _, said_beside = process.communicate()
    assert (process.returncode, said_beside) == (130, "")
    assert [line for line in lines if re.fullmatch(r"\d\d:\d\d:\d\d\n", line)] != []
    assert lines.count("\n") == 2  # between the blocks
    assert "\x1b" not in "".join(lines)


def test_watch_as_json_is_a_line_a_look(start: Starter, shim: Shim) -> None:
    start()
    words = [str(shim.program), "usage", "--watch", "0.1", "--format", "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
    assert [[item["container_id"] for item in look] for look in looks] == [["c1"]] * 3
    stamps = [look[0]["statistics"]["timestamp"] for look in looks]
    assert stamps == sorted(set(stamps))


def test_the_lines_that_do_not_fit_are_counted() -> None:
    lines = ["head", *"abcdefghij", "totals"]
    assert usage._fit(lines, 6) == ["head", "a", "b", "c", "... 7 more", "totals"]  # d to j
    assert usage._fit(lines, 12) == lines


def test_watch_on_a_full_disk_ends_with_the_reason(start: Starter, shim: Shim) -> None:
    start()
    with open("/dev/full", "w") as full:
        words = [str(shim.program), "usage", "--watch", "0.1"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=30)
    assert done.returncode == 125
    assert done.stderr == ("mesos-shim: standard output: No space left on device; the output is incomplete\n")


def test_watch_says_once_what_is_not_there(start: Starter, shim: Shim) -> None:
    start()
    words = [str(shim.program), "usage", "--watch", "0.05", "--format", "json", "c1", "nowhere"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert said.count("no such container") == 1
