"""The body of `POST /jobs`, field by field."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sweephand.domain.errors import FieldError, InvalidError
from sweephand.domain.handler import Handler, Isolation
from sweephand.domain.job import NewJob
from sweephand.domain.json_value import JsonValue, parse
from sweephand.domain.request import MAX_STORED, new_job
from tests.domain.json_values import VALUES

JOB = UUID(int=7)


def _breaks(_value: object) -> object:
    raise KeyError("no ValueError, so pydantic lets it pass")


class Part(BaseModel):
    """A part of a payload."""

    size: int


class Payload(BaseModel):
    """A payload with everything that a pointer can lead through."""

    model_config = ConfigDict(extra="forbid")

    name: str
    parts: list[Part] = []
    by_name: dict[str, Part] = {}
    either: int | list[int] | None = None
    broken: Annotated[object, AfterValidator(_breaks)] = None


class Anything(BaseModel):
    """A payload of any kind."""

    model_config = ConfigDict(extra="allow")


class Tree(BaseModel):
    """A payload that holds itself."""

    model_config = ConfigDict(extra="forbid")

    below: "Tree | None" = Field(None)


MODELS: dict[str, type[BaseModel]] = {"work": Payload, "any": Anything, "tree": Tree}
HANDLERS = {
    name: Handler(name, model, 1, Isolation.THREAD, lambda _payload, _ctx: None) for name, model in MODELS.items()
}


def asked(**fields: Any) -> NewJob:
    """Return the job of a request with these fields."""
    return new_job({"type": "any", "payload": {}} | fields, HANDLERS, JOB)


def faults(body: JsonValue) -> list[FieldError]:
    """Return why `body` is refused."""
    with pytest.raises(InvalidError) as refused:
        new_job(body, HANDLERS, JOB)
    return refused.value.faults


def pointers(**fields: Any) -> list[str]:
    """Return where a request with these fields is refused."""
    return [fault.pointer for fault in faults({"type": "any", "payload": {}} | fields)]


def test_request_takes_its_defaults() -> None:
    """Type and payload are enough: at once, priority 0, three retries, no expiry."""
    assert asked() == NewJob(JOB, "any", {}, 0, 3, None, None)


def test_request_becomes_the_job() -> None:
    """Each field that is sent is the job's."""
    job = asked(
        payload={"a": [1]},
        priority=9,
        max_retries=100,
        scheduled_at="2026-01-31T18:30:00Z",
        expires_at="2026-01-31T19:30:00+01:00",
    )
    at = datetime(2026, 1, 31, 18, 30, tzinfo=UTC)
    assert job == NewJob(JOB, "any", {"a": [1]}, 9, 100, at, at)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", 0),
        ("priority", 9),
        ("max_retries", 0),
        ("max_retries", 100),
        ("scheduled_at", None),
        ("expires_at", None),
        ("scheduled_at", "0001-01-01T00:00:00Z"),
        ("scheduled_at", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_limit_itself_is_accepted(field: str, value: object) -> None:
    """Bounds belong to their range."""
    asked(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", None),
        ("type", 5),
        ("type", ""),
        ("type", "no_such_type"),
        ("payload", None),
        ("payload", []),
        ("payload", "{}"),
        ("priority", -1),
        ("priority", 10),
        ("priority", 1.5),
        ("priority", "1"),
        ("priority", True),
        ("priority", None),
        ("max_retries", -1),
        ("max_retries", 101),
        ("max_retries", 2**63),
        ("max_retries", "3"),
        ("scheduled_at", 0),
        ("scheduled_at", ""),
        ("scheduled_at", "tomorrow"),
        ("scheduled_at", "99999-01-01T00:00:00Z"),
        ("scheduled_at", "2026-01-31T18:30:00"),
        ("expires_at", "2026-01-31"),
        ("expires_at", True),
        ("id", "0198"),
        ("schedule_at", "2026-01-31T18:30:00Z"),
    ],
)
def test_value_out_of_bounds_is_refused_with_its_pointer(field: str, value: object) -> None:
    """A wrong value, a wrong JSON type and an unknown field each name where they stand; nothing is converted."""
    assert pointers(**{field: value}) == [f"/{field}"]


@pytest.mark.parametrize("body", [None, 5, "text", [], [{"type": "any"}]])
def test_body_that_is_no_object_is_refused_as_a_whole(body: JsonValue) -> None:
    """Only an object asks for a job."""
    assert [fault.pointer for fault in faults(body)] == [""]


def test_missing_fields_are_named_where_they_should_stand() -> None:
    """A pointer to what is missing leads to where it belongs."""
    assert [fault.pointer for fault in faults({})] == ["/type", "/payload"]


def test_all_faults_are_told_at_once() -> None:
    """Fields and payload are judged together, so that one answer is enough to mend a request."""
    body: JsonValue = {"type": "work", "payload": {"parts": 1}, "priority": 10, "more": 1}
    assert [f.pointer for f in faults(body)] == ["/priority", "/more", "/payload/name", "/payload/parts"]


def test_unknown_type_names_the_known_ones() -> None:
    """The answer to a misspelled type says what there is."""
    assert faults({"type": "tee", "payload": {}}) == [
        FieldError("/type", "no such type; there are: any, tree, work")
    ]


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        ({"name": 5}, "/payload/name"),
        ({"name": "x", "parts": [{"size": 1}, {"size": "big"}]}, "/payload/parts/1/size"),
        ({"name": "x", "parts": [{}]}, "/payload/parts/0/size"),
        ({"name": "x", "by_name": {"a/b~c": {"size": None}}}, "/payload/by_name/a~1b~0c/size"),
        ({"name": "x", "by_name": {"0": 1}}, "/payload/by_name/0"),
        ({"name": "x", "either": "neither"}, "/payload/either"),
        ({"name": "x", "either": [1, "two"]}, "/payload/either"),
        ({"name": "x", "extra/field": 1}, "/payload/extra~1field"),
        ({"name": "x", "k" * 10_000: 1}, "/payload"),
        ({"name": "x", "broken": 1}, "/payload"),
    ],
)
def test_payload_is_refused_where_its_model_says(payload: dict[str, JsonValue], pointer: str) -> None:
    """A pointer leads through what was sent, never through the branches of a model, whatever the model raises."""
    found = [fault.pointer for fault in faults({"type": "work", "payload": payload})]
    assert pointer in found
    assert all(one.startswith(pointer) for one in found)


def test_message_keeps_the_value_to_itself() -> None:
    """A reason says what is expected, not what was found, which may be a secret."""
    said = faults({"type": "work", "payload": {"name": ["hunter2"], "either": "hunter2"}, "priority": "hunter2"})
    assert "hunter2" not in repr(said)


def test_payload_that_holds_itself_deeply_is_judged() -> None:
    """The levels that the parser lets pass are no trouble for a model that refers to itself."""
    payload: dict[str, JsonValue] = {}
    for _ in range(62):
        payload = {"below": payload}
    assert new_job({"type": "tree", "payload": payload}, HANDLERS, JOB).payload == payload


def test_payload_is_kept_as_it_was_sent() -> None:
    """The model judges the payload and changes nothing in it: no default, no conversion."""
    payload: JsonValue = {"name": "x", "parts": [{"size": "7"}]}
    assert new_job({"type": "work", "payload": payload}, HANDLERS, JOB).payload is payload


def test_numbers_may_not_blow_the_payload_up() -> None:
    """Exponents are stored written out; a payload that would pass 1 MiB so is refused with its real size."""
    many = parse(b"[" + b",".join([b"1e308"] * 3_400) + b"]")
    (fault,) = faults({"type": "any", "payload": {"n": many}})
    assert (fault.pointer, fault.detail.split()[:2]) == ("/payload", ["takes", "1057407"])
    few = parse(b"[" + b",".join([b"1e308"] * 3_300) + b"]")
    assert new_job({"type": "any", "payload": {"n": few}}, HANDLERS, JOB)
    assert MAX_STORED < 1_057_407


@given(VALUES)
def test_every_body_is_a_job_or_refused(body: Any) -> None:
    """No JSON value makes anything but a job or `InvalidError`."""
    with pytest.raises(InvalidError):
        new_job(body, HANDLERS, JOB)


@given(st.fixed_dictionaries({"type": st.sampled_from(sorted(HANDLERS)), "payload": VALUES}))
def test_every_payload_is_a_job_or_refused(body: Any) -> None:
    """The same for every payload."""
    with suppress(InvalidError):
        assert new_job(body, HANDLERS, JOB).payload == body["payload"]


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T18:30:00Z",
        "2026-01-31t18:30:00z",
        "2026-01-31 18:30:00Z",
        "2026-01-31T19:30:00+01:00",
        "2026-01-31T18:30:00-00:00",
        "2026-02-01T18:29:00+23:59",
        "2026-01-31T18:30:00.0Z",
        "2026-01-31T18:30:00.0000000000Z",
    ],
)
def test_every_form_of_rfc_3339_is_read(text: str) -> None:
    """Small letters, a space, any offset and any number of digits spell the same instant."""
    assert asked(scheduled_at=text).scheduled_at == datetime(2026, 1, 31, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T18:30:00+0100",
        "2026-01-31T18:30:00+01",
        "2026-01-31T18:30:00+05:60",
        "2026-01-31T18:30:00+24:00",
        "2026-01-31T24:00:00Z",
        "2026-01-31T18:60:00Z",
        "2026-01-31T18:30Z",
        "2026-01-31T18:30:00.Z",
        "2026-01-31T18:30:00,5Z",
        "20260131T183000Z",
        "2026-W05-6T18:30:00Z",
        "2026-02-30T18:30:00Z",
        "2025-02-29T18:30:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-01-31T18:30:00Z ",
        " 2026-01-31T18:30:00Z",
        "2026-01-31T18:30:00Z\n",
        "\u0662\u0660\u0662\u0666-01-31T18:30:00Z",
        "1769884200",
    ],
)
def test_every_other_form_is_refused(text: str) -> None:
    """ISO 8601's other spellings, days that do not exist and other scripts' digits are no RFC 3339 date-times."""
    assert pointers(scheduled_at=text) == ["/scheduled_at"]


ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES), st.sampled_from(["T", "t", " "]))  # noqa: DTZ001 - the zone is the other's
def test_instant_is_kept_to_the_microsecond(at: datetime, letter: str) -> None:
    """Whatever offset it is told with, the instant is the same."""
    text = at.isoformat(timespec="microseconds").replace("T", letter)
    assert asked(scheduled_at=text).scheduled_at == at
