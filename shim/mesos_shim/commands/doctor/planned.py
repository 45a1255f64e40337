"""What a launch on this host would refuse or warn of: one is planned as the configuration says, and nothing is done."""

import grp
import os
from typing import Callable

from ...errors import ShimError
from ...launch import covered, covered_variables, order, planning, temporary_sandbox
from ...plan.model import NOEXEC, Plan
from ...spec.config import Config
from ...spec.container_info import ContainerInfo
from ...spec.isolation import FILESYSTEM_SHARED
from ...spec.request import OPERATOR, LaunchRequest
from ...system import unmapped, walk
from ...system.files import trusted_uids
from .. import arguments
from .finding import BROKEN, DEGRADED, OK, Finding, checked

_EXPLAINED = "do what the message says; docs/troubleshooting.md explains each"
# Of a sandbox that is not an agent's, which this launch has.
_OF_OTHER_SANDBOXES = "hide_work_dir: nothing is hidden"


def examine(config: Config) -> "list[Finding]":
    """Findings of a launch without options; with a private /tmp where the configuration mounts nothing."""
    checks: tuple[tuple[str, Callable[[], list[Finding]]], ...] = (
        ("user namespace", _user_namespace),
        ("work_dir", lambda: _work_dir(config)),
        ("trusted_groups", lambda: _trusted_groups(config)),
        ("launch", lambda: _launch(config)),
    )
    return [found for name, look in checks for found in checked(name, look)]


def _user_namespace() -> "list[Finding]":
    if not unmapped.root_is_missing():
        return []
    text = (
        "root is not mapped here: what belongs to the overflow uid counts as root's, but not in directories like /tmp"
    )
    return [Finding("user namespace", OK, text)]


def _work_dir(config: Config) -> "list[Finding]":
    """Each sandbox of an agent's lies in it."""
    if config.work_dir is None:
        return []
    try:
        found = walk.resolve(config.work_dir, "work_dir", trusted_uids())
    except walk.Missing:
        return []  # no agent has run here
    except ShimError as error:
        return [Finding("work_dir", BROKEN, f"{error}: every launch in it is refused", _EXPLAINED)]
    os.close(found.fd)
    linked = "" if found.path == config.work_dir else f" leads to {found.path}; both names work in a container"
    return [Finding("work_dir", OK, f"{config.work_dir}{linked}")]


def _trusted_groups(config: Config) -> "list[Finding]":
    known = {entry.gr_name for entry in grp.getgrall()}
    unknown = [name for name in config.trusted_groups if isinstance(name, str) and name not in known]
    text = f"{', '.join(unknown)}: no such group on this host"
    return (
        [Finding("trusted_groups", DEGRADED, text, "correct the name, or give the group's number")] if unknown else []
    )


def _launch(config: Config) -> "list[Finding]":
    try:
        plan = _plan(config, config.default_container_info)
        if not plan.mounts and FILESYSTEM_SHARED in config.isolation:
            plan = _plan(config, ContainerInfo([arguments.volume_of("tmp:/tmp")]))
    except ShimError as error:
        return [Finding("launch", BROKEN, f"a launch would be refused: {error}", _EXPLAINED)]
    warnings = [warning for warning in plan.warnings if not warning.startswith(_OF_OTHER_SANDBOXES)]
    findings = [Finding("launch", DEGRADED, f"a launch would warn: {warning}", _EXPLAINED) for warning in warnings]
    return findings or [Finding("launch", OK, "; ".join(_says(plan)))]


def _plan(config: Config, info: "ContainerInfo | None") -> Plan:
    request = LaunchRequest()
    request.config, request.info, request.origin = config, info, OPERATOR
    request.isolation, request.on_unenforceable = config.isolation, config.on_unenforceable
    request.sandbox_planned = temporary_sandbox.planned(request)
    return planning.make_plan(request, [])


def _says(plan: Plan) -> "list[str]":
    """What it covers, and what of the host and of the caller's environment that means for the command."""
    covers = [mount for mount in plan.mounts if mount.action in covered_variables.COVERING]
    said = [f"covers {', '.join(mount.target for mount in covers)}" if covers else "covers nothing"]
    hard = [mount.target for mount in covers if mount.restrictions & NOEXEC or mount.noexec]
    if hard:
        said.append(f"no program can be started from {', '.join(hard)} (noexec)")
    led = [name for name in map(os.fsdecode, order._LEADING) if _is_covered(os.environ.get(name, ""), plan)]
    if led:
        said.append(f"{', '.join(led)} of this environment would lead to nothing")
    return said


def _is_covered(value: str, plan: Plan) -> bool:
    path = covered_variables.path_in(os.fsencode(value))
    if path is None or not os.path.exists(path):
        return False
    mount = covered.innermost(covered.leads_to(path), plan.mounts)
    return mount is not None and mount.action in covered_variables.COVERING and mount.target != path
