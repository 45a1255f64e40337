"""Tasks as a framework describes them to the real agent: TaskInfo in protobuf JSON."""

from __future__ import annotations

import base64
from typing import Any

# For a task's script: go on when the test says so, in any case before the test's own patience ends.
WAIT_FOR_RELEASE = 'n=0; while [ ! -e "$MESOS_SANDBOX/go" ] && [ $n -lt 1800 ]; do n=$((n+1)); sleep 0.05; done'


def scalars(cpus: float, mem: int) -> list[dict[str, object]]:
    """Resources."""
    pairs = {"cpus": cpus, "mem": mem}
    return [{"name": name, "type": "SCALAR", "scalar": {"value": value}} for name, value in pairs.items()]


def with_executor(
    name: str,
    command: str,
    script: str,
    *,
    user: str | None = None,
    container: dict[str, object] | None = None,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A task with an executor of its own, `ex-NAME`: the executor's command, and the script as the task's data."""
    variables = [{"name": key, "value": value} for key, value in (environment or {}).items()]
    executor: dict[str, Any] = {
        "executor_id": {"value": f"ex-{name}"},
        "command": {"value": command, "environment": {"variables": variables}, **_given(user=user)},
        "resources": scalars(0.1, 32),
        **_given(container=container),
    }
    return {**_task(name), "executor": executor, "data": base64.b64encode(script.encode()).decode()}


def without_executor(
    name: str, command: str, *, user: str | None = None, container: dict[str, object] | None = None
) -> dict[str, Any]:
    """A command task: the agent makes an executor of its launcher directory's `mesos-executor`."""
    return {**_task(name), "command": {"value": command, **_given(user=user)}, **_given(container=container)}


def _task(name: str) -> dict[str, Any]:
    return {"name": name, "task_id": {"value": name}, "resources": scalars(0.1, 32)}


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
