"""The records of an agent that runs as a user of its own, looked at with that user's rights."""

from typing import Callable

from ...errors import ShimError
from ...spec.config import Config
from .. import agents_user, as_user
from .finding import BROKEN, DEGRADED, OK, Finding

_SECONDS = 60.0


def examine(config: Config, look: "Callable[[], list[Finding]]") -> "list[Finding]":
    """What `look` finds as that user; nothing where there is none, or where the caller is not root."""
    try:
        user = agents_user.identity(config)
    except ShimError as error:
        return [Finding("agent_user", BROKEN, str(error), "correct agent_user, or create the account")]
    if user is None:
        return []
    try:
        said = as_user.ask(user, lambda: [list(item) for item in look()], _SECONDS)
        if not isinstance(said, list) or not all(_is_finding(item) for item in said):
            raise ShimError("unreadable answer")
    except ShimError as error:
        text = f"what {config.agent_user} can see cannot be told: {error}"
        return [Finding("agent_user", DEGRADED, text, "look for processes of that user that stop or end others")]
    return [Finding(f"agent_user {item[0]}", *item[1:]) for item in said]


def _is_finding(item: object) -> bool:
    if not isinstance(item, list) or len(item) != 4:
        return False
    return all(isinstance(text, str) for text in item) and item[1] in (OK, DEGRADED, BROKEN)
