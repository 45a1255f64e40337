"""`mesos-shim explain`: the plan that `run` would carry out, for people or as JSON. Nothing is done.

Whether the kernel gives the plan's namespaces only the attempt can tell: it is made in a child that ends at once.
"""

import os
import shlex
import signal
import sys

from ..errors import ShimError, one_line
from ..launch import order, planning, supervisor, unenforced
from ..launch.state import LaunchState
from ..system import strict_json
from .arguments import from_arguments

RUN_HELP = """\
usage: mesos-shim run|explain [OPTIONS] -- COMMAND [ARG...]

  --volume HOST:CONTAINER[:RW|RO]  a volume; a relative HOST is in the sandbox
  --container-info JSON|@FILE      a ContainerInfo as Mesos writes it
  --sandbox DIR                    the task's directory; default: current one
  --user USER                      the user to run the command as (root only)
  --isolation LIST                 isolators, comma separated
  --cpus N, --mem MB               limits for cgroups/cpu and cgroups/mem
  --container-id ID                your own name for ps, usage and enter
  --config FILE                    another configuration
  --on-unenforceable CHOICE        refuse, or usage-only (no isolation)
  --supervise                      stay as the parent, and forward signals
  --rm                             remove the sandbox at the end; new by default
  --status-fd N, --keep-fd N       JSON lines to descriptor N; keep N open
  --json                           (explain) print the plan as JSON

--volume and --keep-fd can be repeated. Exit status: the command's own; 125 the
shim failed and nothing was started, 126 not executable, 127 not found.

example: mesos-shim run --volume tmp:/tmp --volume /etc/app:/etc/app:RO -- ./app
"""


def main(arguments: "list[str]", config: str) -> int:
    """Print the plan; its exit status is that of a launch that would be refused: 125."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "-h" in before or "--help" in before:
        sys.stdout.write(RUN_HELP)
        return 0
    request = from_arguments(arguments, config)
    if request.remove and request.sandbox is None:
        from ..launch import temporary_sandbox

        request.sandbox_planned = temporary_sandbox.planned(request)
    state = LaunchState(request, planning.make_plan(request, []))
    if state.plan.own_mount_namespace:
        _attempt(state)
    plan = state.plan
    shown = [item for step in _sequence(state) for item in step.describe(state)]
    if request.json:
        sys.stdout.write(
            strict_json.dump(
                {
                    "container_id": plan.container_id,
                    "mode": plan.mode,
                    "isolation": list(plan.isolation),
                    "sandbox": plan.sandbox.path,
                    "steps": shown,
                    "command": list(plan.command),
                    "warnings": state.warnings,
                }
            )
            + "\n"
        )
        return 0
    for warning in state.warnings:
        sys.stdout.write(f"warning: {one_line(warning)}\n")
    for step in shown:
        sys.stdout.write(one_line(_line(step)) + "\n")
    return 0


def _sequence(state: LaunchState) -> "list[order.Step]":
    """The steps of the launch, in their order; those of a parent that stays are around the command's."""
    if not planning.needs_parent(state.request):
        return list(order.steps(state))
    return [*supervisor.before(state), *order.steps(state), *supervisor.after(state)]


def _attempt(state: LaunchState) -> None:
    """Change the plan, or refuse it, as the launch would where the kernel gives no such namespaces."""
    from ..launch import namespace_remedies, namespaces, wait

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller may ignore its children's ends
    reading, writing = os.pipe()
    pid = wait.make_process("the attempt")
    if pid == 0:
        try:
            namespaces.try_namespaces(state)
        except namespace_remedies.Unenforceable as error:
            os.write(writing, f"-{error}".encode("utf-8", "replace"))
        except ShimError as error:
            os.write(writing, f"!{error}".encode("utf-8", "replace"))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as file:
        answer = file.read()
    os.waitpid(pid, 0)
    if answer.startswith("!"):
        raise ShimError(answer[1:])
    if answer:
        unenforced.without_mount_namespace(state, answer[1:])


def _line(step: "dict[str, object]") -> str:
    action = str(step["action"])
    if "source" in step:
        how = ["read-only" if step["read_only"] else "read-write"]
        how += step.get("options", [])  # type: ignore[arg-type]
        how += [f"size {step['size']}"] if step.get("size") else []
        return f"{action:12} {step['source']} -> {step['target']} ({', '.join(how)})"
    rest = [_shown(key, value) for key, value in step.items() if key not in ("action", "target")]
    return " ".join(part for part in (f"{action:12}", str(step.get("target", "")), *rest) if part).rstrip()


def _shown(key: str, value: object) -> str:
    """As a person writes it: a command for the shell, a list with commas, a switch by its name; "" where it is off."""
    if isinstance(value, bool):
        return key if value else ""
    if key == "command" and isinstance(value, list):
        value = " ".join(map(shlex.quote, value))
    elif isinstance(value, list):
        value = ",".join(map(str, value))
    elif isinstance(value, dict):
        value = ",".join(f"{name}={item}" for name, item in value.items())
    return f"{key}={value}" if value != "" else ""
