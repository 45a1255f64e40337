"""One schema of a record: what a launch writes is what every reader knows, field by field."""

from __future__ import annotations

import json

from mesos_shim.containers import record, registry
from mesos_shim.launch.description import describe
from mesos_shim.plan import model
from mesos_shim.system import strict_json

from ..lib.plans import USER, launch_of, resolved
from ..lib.shim import needs_linux

pytestmark = [needs_linux]


def test_what_is_written_is_what_is_read() -> None:
    draft = model.Draft("c1", resolved("/srv/sandbox"), USER)
    draft.limits = {"cpus": 2.0}
    state = launch_of(draft)
    state.request.executor_id = "e1"
    state.private = [("/base/own", 8, 17)]
    state.supervisor = {"pid": 7, "start_time": 99}
    written = json.loads(strict_json.dump(describe(state)))
    assert set(written) == {"version", *registry.FIELDS}
    assert written["version"] == record.VERSION
    entry = registry.Entry(written, 1.5)
    plain = (
        "container_id",
        "executor_id",
        "framework_id",
        "pid",
        "start_time",
        "mode",
        "sandbox",
        "uid",
        "not_as_root",
    )
    assert {name: getattr(entry, name) for name in plain} == {name: written[name] for name in plain}
    assert (entry.cpus, entry.mem, entry.written) == (2.0, None, 1.5)
    assert (entry.private, entry.supervisor) == ([("/base/own", (8, 17))], (7, 99))
    assert list(entry.sandbox_inode or ()) == written["sandbox_inode"]
