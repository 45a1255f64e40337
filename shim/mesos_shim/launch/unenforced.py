"""Launches that the host cannot isolate: refused, or carried out in usage-only mode where the operator chose that.

A usual launch does not read this module.
"""

import posix
import sys

from ..errors import ShimError
from ..plan import model
from ..spec import config, isolation
from ..spec.request import LaunchRequest
from .state import USAGE_ONLY_NOTICE, LaunchState


def off_linux(request: LaunchRequest, result: model.Draft) -> model.Plan:
    """The plan where there are neither namespaces nor cgroups: reports alone, and never without a warning."""
    result.command = request.command
    result.isolation = tuple([item.name for item in isolation.among(request.isolation) if item.portable])
    plan_without_isolation(
        request, result, f"{sys.platform} has no namespaces and no cgroups", default=config.USAGE_ONLY
    )
    return model.finished(result)


def plan_without_isolation(request: LaunchRequest, result: model.Draft, why: str, default: str = config.REFUSE) -> None:
    """Refuse, or plan the usage-only mode where the operator chose that."""
    result.warnings.append(why_usage_only(request, why, default))
    for name, value in _changes(result.isolation).items():
        setattr(result, name, value)


def why_usage_only(request: LaunchRequest, why: str, default: str = config.REFUSE) -> str:
    """The warning of a launch in usage-only mode; refused where the operator did not choose it (threats 18)."""
    if (request.on_unenforceable or default) != config.USAGE_ONLY:
        raise ShimError(f"{why}; --on-unenforceable usage-only would launch without isolation")
    return f"usage-only: NOTHING is isolated: {why}"


def usage_only(plan: model.Plan) -> model.Plan:
    """The plan of the same launch without isolation."""
    changes = _changes(plan.isolation)
    return plan.but(new_user_namespace=False, no_new_privs=None, not_as_root=None, **changes)


def _changes(names: "tuple[str, ...]") -> "dict[str, object]":
    return {
        "mode": model.USAGE_ONLY,
        "isolation": tuple([item.name for item in isolation.among(names) if item.reports_only]),
        "mounts": [],
        "private_mount_namespace": False,
        "namespaces": [],
        "own_queues": False,
    }


def without_mount_namespace(state: LaunchState, why: str) -> None:
    """Go on, or refuse, where the kernel gives no mount namespace."""
    if state.plan.before is not None:
        raise ShimError(f"{why}; the agent's own mounts need it")
    if state.plan.isolates:
        isolate_nothing(state, why)
    state.plan = state.plan.but(private_mount_namespace=False)  # then nothing was asked for that is missing now


def isolate_nothing(state: LaunchState, why: str) -> None:
    """Go on in usage-only mode, or refuse, where the host turns out to give no isolation."""
    warning = why_usage_only(state.request, why)
    state.plan = usage_only(state.plan)
    if state.notify_fd is not None:
        posix.write(state.notify_fd, USAGE_ONLY_NOTICE)
    state.warnings.append(warning)
