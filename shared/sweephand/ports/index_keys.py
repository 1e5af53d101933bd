"""The names of Redis keys: all of them are built here.

The braces put every key of an installation into one slot of a cluster, so that one script may use them all.
"""

from sweephand.domain.job import MAX_PRIORITY


def _prefix(installation: str) -> str:
    return f"sweephand:{{{installation}}}"


def lane_key(installation: str, type_: str, priority: int) -> str:
    """Return the key of a lane's ZSET: the jobs of one type at one priority."""
    return f"{_prefix(installation)}:due:{type_}:{priority}"


def priority_keys(installation: str) -> list[str]:
    """Return the keys of the ten ZSETs that say when to look at each lane, from priority 0 to 9."""
    return [f"{_prefix(installation)}:lanes:{priority}" for priority in range(MAX_PRIORITY + 1)]


def notification_key(installation: str) -> str:
    """Return the key of the list that a waiting tick pops from."""
    return f"{_prefix(installation)}:notification"


def generation_key(installation: str) -> str:
    """Return the key of the counter of scheduled ticks."""
    return f"{_prefix(installation)}:generation"


def active_tick_key(installation: str) -> str:
    """Return the key that names the active tick."""
    return f"{_prefix(installation)}:active"
