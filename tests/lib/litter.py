"""What may lie in a directory of records and is none."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path


def litter(directory: Path) -> dict[str, str]:
    """Files that are no records, by name, with what gc says of them."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "empty": b"",
        "truncated": b'{"version": 1, "container_id": "trunc',
        "binary": os.urandom(200),
        "list": b"[]",
        "deep": b"[" * 5000,
        "huge": b" " * (2 << 20),
        "other-name": b'{"version":1,"container_id":"x","pid":4,"mode":"enforced","sandbox":"/","uid":0}',
        "wrong-types": b'{"version":1,"container_id":"wrong-types","pid":"1","mode":7,"sandbox":[],"uid":-1}',
        "negative": b'{"version":1,"container_id":"negative","pid":-1,"mode":"enforced","sandbox":"/","uid":0}',
        "no-version": b'{"container_id":"no-version","pid":1,"start_time":1}',
        "nothing": b"{}",
        "words-for-version": b'{"version":"2"}',
        "newer": b'{"version":2,"container_id":"newer","pid":1,"start_time":1}',
    }.items():
        (directory / f"{name}.json").write_bytes(content)
    good = {"version": 1, "pid": 4, "start_time": 1, "mode": "enforced", "sandbox": "/", "uid": 0}
    bad: dict[str, dict[str, object]] = {
        "nul-in-sandbox": {"sandbox": "/var/\0tmp", "remove": [1, 2]},
        "relative-sandbox": {"sandbox": "tmp", "remove": [1, 2]},
        "nul-in-cgroup": {"cgroups": {"cpu": "/sys/fs/cgroup/\0"}},
        "relative-cgroup": {"cgroups": {"cpu": "sys"}},
    }
    for name, fields in bad.items():
        (directory / f"{name}.json").write_text(json.dumps({**good, "container_id": name, **fields}))
    os.mkfifo(directory / "fifo.json")
    (directory / "link.json").symlink_to("/etc/passwd")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(directory)
        server.bind("socket.json")
        os.chdir("/")
    return {path.stem: path.name for path in directory.iterdir()}
