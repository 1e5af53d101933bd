"""Makes jobs of fires: plans those of the schedules that a page of the record names; one call makes them."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sweephand.domain.errors import InvalidError, SweephandError
from sweephand.domain.fires import LIMITS, Fire, Standing, fires_to_make
from sweephand.domain.handler import Handler
from sweephand.domain.json_value import JsonValue
from sweephand.domain.schedule import Schedule
from sweephand.domain.schedule_request import new_schedule
from sweephand.ports.record import DueSchedules, Record

log = logging.getLogger("sweephand")
MOST_JOBS = 1000
"""Jobs in one call; the last schedule of a call may exceed it by what one schedule makes in a call."""
MOST_BYTES = 8 * 1024 * 1024
"""Bytes of payload in one call, exceeded as MOST_JOBS is; of one schedule, one job at least."""
MAX_REASON = 500
"""Characters of the reason why a schedule is invalid."""


def make_fires(record: Record, handlers: Mapping[str, Handler], due: DueSchedules) -> int:
    """Make jobs of the fires of the schedules that are `due`; return of how many schedules it was done.

    What one call cannot take is left: a later page names it again. Raises nothing: what fails is logged, since it
    must not keep jobs from running.
    """
    now = datetime.fromisoformat(due["now"])
    plans: list[JsonValue] = []
    jobs = size = 0
    for row in due["due"]:
        if jobs >= MOST_JOBS or size >= MOST_BYTES:
            break
        plan = _plan(row, handlers, now)
        plans.append(plan)
        jobs += len(plan["fires"])
        size += len(plan["fires"]) * row["bytes"]
    try:
        return record.make_fires(plans)
    except SweephandError as e:
        log.error("fires were not made, a later tick will: %s", e)  # noqa: TRY400 - the message says all
        return 0


def _plan(row: Mapping[str, Any], handlers: Mapping[str, Handler], now: datetime) -> dict[str, Any]:
    """Return what is to become of a schedule now; where it is invalid, why."""
    plan = {
        **{key: row[key] for key in ("id", "revision", "cursor", "next_fire")},
        "decided": row["cursor"],
        "fires": [],
        "skipped": {},
        "look_at": None,
        "invalid": None,
    }
    try:
        schedule = _schedule(row, handlers)
        return plan | _decided(schedule, row, now)
    except InvalidError as e:
        reason = str(e)
    except Exception as e:  # whatever one schedule does, the others go on
        log.exception("schedule %s could not be planned", row["id"])
        reason = f"it could not be planned: {type(e).__name__}: {e}"
    return plan | {"invalid": reason[:MAX_REASON]}


def _schedule(row: Mapping[str, Any], handlers: Mapping[str, Handler]) -> Schedule:
    """Return the schedule of a row; its payload is judged when it has changed, where its handler is known here."""
    body, changed = row["schedule"], row["next_fire"] is None
    known = isinstance(body["job"], Mapping) and body["job"].get("type") in handlers
    return new_schedule(body, handlers if changed and known else None)


def _decided(schedule: Schedule, row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    standing = Standing(UUID(row["id"]), _time(row["cursor"]), row["next_fire"] and _time(row["next_fire"]))
    most = max(1, min(LIMITS.at_most, MOST_BYTES // row["bytes"]))
    plan = fires_to_make(schedule, standing, now, LIMITS._replace(at_most=most))
    return {
        "fires": [_fire(fire, schedule) for fire in plan.fires],
        "skipped": dict(plan.skipped),
        "decided": plan.cursor.isoformat(),
        "next_fire": plan.next_fire and plan.next_fire.isoformat(),
        "look_at": plan.look_at and plan.look_at.isoformat(),
    }


def _fire(fire: Fire, schedule: Schedule) -> list[JsonValue]:
    after = schedule.job.expires_after
    expires_at = None if after is None else (fire.due_at + after).isoformat()
    return [fire.at.isoformat(), fire.due_at.isoformat(), expires_at]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
