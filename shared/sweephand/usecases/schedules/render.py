"""A schedule as it is answered: what was asked for, when it fires next, and what it has made and skipped."""

from collections.abc import Mapping
from datetime import datetime

from sweephand.domain.errors import InvalidError
from sweephand.domain.fires import next_fires
from sweephand.domain.json_value import JsonValue
from sweephand.domain.request import to_rfc3339
from sweephand.domain.schedule import Schedule, as_json, dst_class
from sweephand.domain.schedule_request import new_schedule
from sweephand.ports.schedules import Stored

NEXT_FIRES = 5


def render(stored: Stored, *, fires: int = NEXT_FIRES) -> dict[str, JsonValue]:
    """Return a schedule with its next `fires` fires; an invalid one as it is, and why.

    A row that was written by SQL is judged here too: no tick may have done so yet.
    """
    invalid = stored.fields["invalid"]
    try:
        schedule = new_schedule(stored.body, None)
    except InvalidError as e:
        body, comes, kind = dict(stored.body), [], None
        invalid = invalid or str(e)
    else:
        body, kind = _as_asked(schedule), dst_class(schedule).value
        comes = [] if schedule.paused else next_fires(schedule, stored.now, fires)
    return {
        **body,
        "dst": kind,
        "next_fires": [to_rfc3339(at) for at in comes],
        "invalid": invalid,
        "made": stored.fields["made"],
        "skipped": stored.fields["skipped"],
        "last_fire": _time(stored.fields["last_fire"]),
        "source": stored.fields["source"],
        "revision": stored.revision,
        "created_at": _time(stored.fields["created_at"]),
        "updated_at": _time(stored.fields["updated_at"]),
    }


def summary(stored: Stored) -> dict[str, JsonValue]:
    """Return a schedule as a list shows it: without its payload, and with its next fire alone."""
    shown = render(stored, fires=1)
    job = shown["job"]
    if isinstance(job, Mapping):
        shown["job"] = {key: value for key, value in job.items() if key != "payload"}
    return shown


def _as_asked(schedule: Schedule) -> dict[str, JsonValue]:
    """Return every field, times as jobs have them."""
    body = as_json(schedule)
    return body | {"start_at": _instant(schedule.start_at), "end_at": _instant(schedule.end_at)}


def _instant(at: datetime | None) -> str | None:
    return None if at is None else to_rfc3339(at)


def _time(text: JsonValue) -> str | None:
    return None if text is None else to_rfc3339(datetime.fromisoformat(str(text)))
