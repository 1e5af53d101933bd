"""Read schedules, and the jobs that they made."""

import base64
from dataclasses import dataclass

from sweephand.domain.cursor import decode, encode
from sweephand.domain.errors import FieldError, InvalidError, ScheduleNotFoundError
from sweephand.domain.json_value import JsonValue
from sweephand.domain.schedule_request import NAME
from sweephand.ports.schedules import Schedules
from sweephand.usecases.read import parse_limit
from sweephand.usecases.schedules.change import checked_source, found
from sweephand.usecases.schedules.render import render, summary


def get(schedules: Schedules, name: str) -> dict[str, JsonValue]:
    """Return a schedule; raises `ScheduleNotFoundError`."""
    return render(found(schedules.get(name)))


@dataclass(frozen=True, slots=True)
class SchedulesQuery:
    """The query of `GET /schedules`, as text or None where it was not given."""

    limit: str | None = None
    cursor: str | None = None
    source: str | None = None


def list_schedules(schedules: Schedules, asked: SchedulesQuery) -> dict[str, JsonValue]:
    """Return `{schedules, next_cursor}` by name; of one source where it is asked for.

    Raises `InvalidError` for a limit out of range, a cursor that no list gave, or an impossible source.
    """
    most = parse_limit(asked.limit)
    after = "" if asked.cursor is None else _name_in(asked.cursor)
    rows = schedules.list(after, most + 1, checked_source(asked.source))
    more = len(rows) > most
    return {
        "schedules": [summary(row) for row in rows[:most]],
        "next_cursor": _cursor_of(str(rows[most - 1].body["name"])) if more else None,
    }


def list_jobs(schedules: Schedules, name: str, limit: str | None, cursor: str | None) -> dict[str, JsonValue]:
    """Return `{jobs, next_cursor}` of what a schedule made, latest created first.

    Raises `ScheduleNotFoundError`, and `InvalidError` as `list_schedules` does.
    """
    most, filters = parse_limit(limit), f"schedule {name}"
    listed = schedules.jobs(name, most + 1, None if cursor is None else decode(cursor, filters=filters))
    if listed is None:
        raise ScheduleNotFoundError
    more = len(listed.jobs) > most
    return {
        "jobs": listed.jobs[:most],
        "next_cursor": encode(listed.positions[most - 1], filters=filters) if more else None,
    }


def _cursor_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).rstrip(b"=").decode()


def _name_in(cursor: str) -> str:
    try:
        name = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except ValueError:
        name = ""
    if not NAME.match(name) or _cursor_of(name) != cursor:
        raise InvalidError([FieldError("cursor", "not a cursor of this list: use `next_cursor` as it was given")])
    return name
