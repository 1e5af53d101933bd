"""Make, replace, change and delete schedules."""

from collections.abc import Mapping

from sweephand.domain.errors import (
    FieldError,
    InvalidError,
    RecordRefusedError,
    ScheduleChangedError,
    ScheduleNotFoundError,
)
from sweephand.domain.handler import Handler
from sweephand.domain.json_value import JsonValue
from sweephand.domain.schedule import as_json
from sweephand.domain.schedule_request import new_schedule, patched
from sweephand.ports.schedules import Put, PutOutcome, Schedules, Stored
from sweephand.usecases.schedules.render import render

TRIES = 5
"""How often a patch is applied anew when another change came between."""
MAX_SOURCE = 255
"""Characters of the name of a list."""

Answer = dict[str, JsonValue]


def put(
    schedules: Schedules, handlers: Mapping[str, Handler], body: JsonValue, source: str | None = None
) -> tuple[Answer, PutOutcome]:
    """Make the schedule of `body`, or replace the one of its name; return it, and what was done.

    The same body again changes nothing. `source` names the list that it stands in, 1 to 255 characters; None leaves
    it in its own. Raises `InvalidError`, `RecordUnavailableError`.
    """
    checked_source(source)
    done = _put(schedules, as_json(new_schedule(body, handlers)), source)
    assert done.schedule is not None  # without a revision it is always made
    return render(done.schedule), done.outcome


def checked_source(source: str | None) -> str | None:
    """Return the name of a list; raises `InvalidError` unless it is 1 to 255 printable characters, or None."""
    if source is not None and not (0 < len(source) <= MAX_SOURCE and source.isprintable()):
        raise InvalidError([FieldError("source", f"must be 1 to {MAX_SOURCE} printable characters")])
    return source


def patch(schedules: Schedules, handlers: Mapping[str, Handler], name: str, body: JsonValue) -> Answer:
    """Change the fields of a schedule that `body` names.

    Raises `InvalidError`, `ScheduleNotFoundError`, `ScheduleChangedError`, `RecordUnavailableError`.
    """
    for _ in range(TRIES):
        stored = found(schedules.get(name))
        made = new_schedule(patched(_as_stored(stored), body), handlers)
        done = _put(schedules, as_json(made), None, stored.revision)
        if done.outcome is PutOutcome.GONE:
            raise ScheduleNotFoundError
        if done.outcome is not PutOutcome.CHANGED and done.schedule is not None:
            return render(done.schedule)
    raise ScheduleChangedError


def delete(schedules: Schedules, name: str, *, cancel: bool) -> int:
    """Delete a schedule; with `cancel`, cancel what it made and has not started. Return how many were cancelled.

    Raises `ScheduleNotFoundError`, `RecordUnavailableError`; asked again it goes on.
    """
    cancelled = 0
    while True:
        done = schedules.delete(name, cancel=cancel)
        if not done.found:
            raise ScheduleNotFoundError
        cancelled += done.cancelled
        if not done.left:
            return cancelled


def found(stored: Stored | None) -> Stored:
    """Return the schedule; raises `ScheduleNotFoundError` where there is none."""
    if stored is None:
        raise ScheduleNotFoundError
    return stored


def _as_stored(stored: Stored) -> Mapping[str, JsonValue]:
    """Return the body to patch: canonical where it is valid, else as SQL wrote it, which a patch may put right."""
    try:
        return as_json(new_schedule(stored.body, None))
    except InvalidError:
        return stored.body


def _put(schedules: Schedules, body: JsonValue, source: str | None, revision: int | None = None) -> Put:
    try:
        return schedules.put(body, source, revision)
    except RecordRefusedError as e:
        raise InvalidError([FieldError("", "the record cannot hold this value")]) from e
