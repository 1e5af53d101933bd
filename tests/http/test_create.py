"""`POST /jobs`."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.services.services import Services
from tests.domain.json_values import VALUES, plain
from tests.http.api import Api

EMAIL = {"to": "test@example.com", "subject": "Hello!", "message": "This is a test job."}
OVER_HTTP = settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""The record fills up from one example to the next, which none of them minds."""
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_job_is_created_with_its_defaults(api: Api, database: psycopg.Connection) -> None:
    """A 201 carries the whole job, which is committed, and says where it can be found."""
    answer = api.post({"type": "email_notification", "payload": EMAIL})
    job = answer.body
    assert answer.status == 201
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    assert "Idempotency-Replayed" not in answer.headers
    assert {name: job[name] for name in ("type", "payload", "status", "priority", "max_retries", "attempt")} == {
        "type": "email_notification", "payload": EMAIL, "status": "pending", "priority": 0, "max_retries": 3,
        "attempt": 0,
    }  # fmt: skip
    assert job["scheduled_at"] == job["run_at"] == job["created_at"]
    assert STAMP.fullmatch(job["created_at"])
    assert database.execute("select id::text from sweephand.open").fetchall() == [(job["id"],)]
    assert api.get(answer.headers["Location"]).body == job


def test_ids_are_ordered_by_time(api: Api) -> None:
    """Ids are UUIDv7: what was made later sorts later."""
    ids = [api.create()["id"] for _ in range(3)]
    assert ids == sorted(ids)
    assert {job[14] for job in ids} == {"7"}


def test_past_is_due_now(api: Api) -> None:
    """`scheduled_at` stays what was asked for; `run_at` is when it is first due."""
    job = api.create(scheduled_at="2025-06-23T18:30:00.000Z")
    assert job["scheduled_at"] == "2025-06-23T18:30:00.000Z"
    assert job["run_at"] == job["created_at"]


def test_times_go_out_in_utc(api: Api) -> None:
    """An offset that came in is the same instant in UTC."""
    job = api.create(scheduled_at="2999-01-01T01:00:00.123456+02:00", expires_at="9999-12-31T23:59:59Z")
    assert (job["scheduled_at"], job["expires_at"]) == ("2998-12-31T23:00:00.123Z", "9999-12-31T23:59:59.000Z")
    assert job["run_at"] == job["scheduled_at"]


def test_only_what_is_due_soon_is_indexed(api: Api, clean: Services) -> None:
    """The index holds what is due within the horizon; the rest is the record's alone."""
    soon = api.create(priority=7)
    far = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    api.create(scheduled_at=far)
    with redis.Redis.from_url(clean.valkey.url, decode_responses=True) as index:
        (key,) = index.scan_iter("*:due:*")
        assert index.zrange(key, 0, -1) == [soon["id"]]
    assert key.endswith(":due:anything:7")


@pytest.mark.parametrize(
    ("body", "status", "title"),
    [
        (b"", 400, "Not JSON"),
        (b"{", 400, "Not JSON"),
        (b"{'type': 'anything'}", 400, "Not JSON"),
        (b"\xff\xfe{}", 400, "Not JSON"),
        (b"\x1f\x8b\x08\x00", 400, "Not JSON"),
        (b'{"type": "anything", "payload": {"n": NaN}}', 400, "Not JSON"),
        (b'{"type": "anything", "payload": {"n": -Infinity}}', 400, "Not JSON"),
        (b" " * (256 * 1024 + 1), 413, "Body too large"),
        (b"null", 422, "Invalid"),
        (b"[]", 422, "Invalid"),
        (b"[" * 10_000, 422, "Invalid"),
    ],
)
def test_body_that_is_no_request_is_refused(api: Api, body: bytes, status: int, title: str) -> None:
    """What is not JSON, too large or no object is told apart."""
    answer = api.post(data=body)
    assert (answer.status, answer.body["title"]) == (status, title)


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "application/problem+json"])
def test_other_content_types_are_refused(api: Api, kind: str) -> None:
    """A body is JSON and says so."""
    assert api.post({}, Content_Type=kind).status == 415


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_content_type_may_be_spelled_otherwise(api: Api, kind: str) -> None:
    """Parameters and capitals do not change a media type."""
    assert api.post({"type": "anything", "payload": {}}, Content_Type=kind).status == 201


def test_body_of_256_kib_is_accepted(api: Api) -> None:
    """The limit itself is within it, and comes back whole."""
    frame = json.dumps({"type": "anything", "payload": {"x": ""}})
    text = "x" * (256 * 1024 - len(frame))
    answer = api.post({"type": "anything", "payload": {"x": text}})
    assert answer.status == 201
    assert api.get(answer.headers["Location"]).body["payload"] == {"x": text}


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"type": "no_such_type"}, "/type"),
        ({"type": None}, "/type"),
        ({"type": "email_notification", "payload": EMAIL | {"to": "nobody"}}, "/payload/to"),
        ({"type": "email_notification", "payload": EMAIL | {"to": 5}}, "/payload/to"),
        ({"type": "email_notification", "payload": EMAIL | {"cc": ["a@example.com", "b"]}}, "/payload/cc/1"),
        ({"type": "email_notification", "payload": EMAIL | {"from": "x"}}, "/payload/from"),
        ({"type": "email_notification", "payload": {}}, "/payload/to"),
        ({"payload": []}, "/payload"),
        ({"unknown": 1}, "/unknown"),
        ({"un/kn~own": 1}, "/un~1kn~0own"),
        ({"priority": 10}, "/priority"),
        ({"priority": -1}, "/priority"),
        ({"priority": "1"}, "/priority"),
        ({"max_retries": -1}, "/max_retries"),
        ({"max_retries": 101}, "/max_retries"),
        ({"scheduled_at": "2026-01-31T18:30:00"}, "/scheduled_at"),
        ({"scheduled_at": "99999-01-01T00:00:00Z"}, "/scheduled_at"),
        ({"scheduled_at": "tomorrow"}, "/scheduled_at"),
        ({"expires_at": "2026-02-30T00:00:00Z"}, "/expires_at"),
    ],
)
def test_wrong_value_is_refused_with_its_pointer(api: Api, fields: dict[str, Any], pointer: str) -> None:
    """Each refused value is named by a JSON pointer into the body."""
    answer = api.post({"type": "anything", "payload": {}} | fields)
    assert answer.status == 422
    assert pointer in answer.pointers


@pytest.mark.parametrize(
    "value",
    [
        '"\\u0000"',
        '{"\\u0000": 1}',
        '"\\ud800"',
        '{"\\udc00": 1}',
        "1e400",
        "1e99999999999999999999",
        "0.1000000000000000055",
        "9" * 400,
        "[" * 10_000 + "]" * 10_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        '{"a": 1, "a": 2}',
        "[" + "1e308," * 40_000 + "1]",
    ],
)
def test_payload_that_would_be_altered_is_refused(api: Api, database: psycopg.Connection, value: str) -> None:
    """What the record or a client could not hold is refused with the reason, and nothing is stored."""
    answer = api.post(data=f'{{"type": "anything", "payload": {{"value": {value}}}}}')
    assert answer.status == 422
    assert answer.body["errors"][0]["detail"]
    assert database.execute("select count(*) from sweephand.jobs").fetchone() == (0,)


def test_answer_to_a_hostile_body_is_small(api: Api) -> None:
    """Long keys and many faults do not multiply: the answer is smaller than the body."""
    bad = json.dumps({"type": "anything", "payload": {"k" * 100_000: ["\0"] * 15_000}})
    answer = api.post(data=bad)
    assert answer.status == 422
    assert len(answer.text) < 100_000


@OVER_HTTP
@given(value=VALUES)
def test_payload_comes_back_as_it_was_sent(api: Api, value: Any) -> None:
    """Through HTTP, PostgREST and jsonb and back, an accepted payload is the same JSON value."""
    job = api.create(payload={"value": value})
    assert plain(job["payload"]) == plain(api.get(f"/jobs/{job['id']}").body["payload"]) == {"value": plain(value)}


@OVER_HTTP
@given(body=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_are_a_500(api: Api, body: bytes) -> None:
    """Whatever bytes a client sends, the answer is one that the document tells of."""
    assert api.post(data=body).status in (400, 422)


FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["anything", "email_notification", "resize_image", "generate_pdf"]) | VALUES},
    optional=dict.fromkeys(("payload", "scheduled_at", "priority", "max_retries", "expires_at", "unknown"), VALUES),
)


@OVER_HTTP
@given(body=FIELDS | VALUES, key=st.none() | st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"])))
def test_no_json_is_a_500(api: Api, body: Any, key: str | None) -> None:
    """Whatever JSON values stand in a request's fields, and whatever its key, it makes a job or is refused."""
    headers = {} if key is None else {"Idempotency_Key": key}
    assert api.post(body, **headers).status in (201, 409, 422)


def test_job_can_be_posted_again_from_its_answer(api: Api) -> None:
    """Numbers that were written out on their way are accepted as they were answered."""
    made = api.create(payload={"n": [1e308, 1e20, 5e-324, -1.5e300]})
    job = api.get(f"/jobs/{made['id']}").body
    assert Decimal(job["payload"]["n"][0]) == Decimal("1e308")
    assert plain(api.create(payload=job["payload"])["payload"]) == plain(job["payload"]) == plain(made["payload"])


def test_text_of_every_plane_is_kept(api: Api) -> None:
    """Line separators, emoji, right-to-left marks and control characters are text."""
    text = "\u2028\u202e\U0001f600\U0010ffff\x01\x7f\ufeff\ufffe"
    assert api.create(payload={"text": text, text: 1})["payload"] == {"text": text, text: 1}
