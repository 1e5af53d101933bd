"""Handlers that were renamed, and payloads that older code stored, on the real record and index."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import redis

from infra.local.services.services import Services
from sweephand import app
from sweephand.adapters.clock import SystemClock
from sweephand.domain.errors import InvalidError
from sweephand.domain.job import NewJob
from sweephand.http.openapi import document
from tests.tick.conftest import forget


@pytest.fixture
def stack_with_renamed(clean: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Yield the services, with this process as a deployment whose handlers were renamed."""
    for name, value in {**clean.env, "HANDLERS": "tests.package.renamed"}.items():
        monkeypatch.setenv(name, value)
    forget()
    yield clean
    app.close()
    forget()


def stored(type_: str, payload: Mapping[str, Any]) -> str:
    """Insert a job as older code left it in the record, and return its id."""
    [job] = app.record().create([NewJob(SystemClock().job_id(), type_, dict(payload))]).jobs
    return str(job["id"])


def found(job: str) -> Mapping[str, Any]:
    """Return a job, whole."""
    row = app.record().get(uuid.UUID(job))
    assert row is not None
    return row


@pytest.mark.parametrize("type_", ["send_parcel", "ship", "post.parcel", "thread_ship", "process_ship"])
@pytest.mark.parametrize("index", [True, False], ids=["index", "record"])
def test_a_stored_job_runs_under_its_former_name(
    stack_with_renamed: Services, monkeypatch: pytest.MonkeyPatch, type_: str, *, index: bool
) -> None:
    """A job of a former type, with the payload of then, completes by today's handler and keeps its type."""
    if not index:
        monkeypatch.setenv("REDIS_URL", "")
        forget()
    job = stored(type_, {"kg": 1.5})
    report = app.run(app.tick(linger=0))
    done = found(job)
    assert (done["status"], done["type"], done["result"]) == ("completed", type_, {"grams": 1500})
    assert done["payload"] == {"kg": 1.5}
    assert report.unknown_types == {}


def test_a_new_job_may_have_a_former_name(stack_with_renamed: Services) -> None:
    """The API takes a former name from callers that have not heard of the new one, with today's payload only."""
    job, _ = app.creator()({"type": "ship", "payload": {"grams": 7}}, "tests")
    with pytest.raises(InvalidError, match="grams"):
        app.creator()({"type": "ship", "payload": {"kg": 7}}, "tests")
    app.run(app.tick(linger=0))
    done = found(str(job["id"]))
    assert (done["status"], done["type"], done["result"]) == ("completed", "ship", {"grams": 7})


def test_an_upgrade_that_fails_ends_the_job(stack_with_renamed: Services) -> None:
    """A payload that cannot be upgraded, or that the model refuses afterwards, ends the job and says why."""
    raises, refused = stored("ship", {"tag": "x"}), stored("ship", {"pounds": 3})
    app.run(app.tick(linger=0))
    assert (found(raises)["status"], found(refused)["status"]) == ("failed", "failed")
    assert "a tag has no meaning any more" in json.dumps(found(raises)["errors"])
    assert "/grams" in json.dumps(found(refused)["errors"])


def test_paused_means_each_name_by_itself(stack_with_renamed: Services) -> None:
    """Pausing a former name leaves the present one running."""
    import psycopg  # noqa: PLC0415

    with psycopg.connect(stack_with_renamed.database_url, autocommit=True) as sql:
        sql.execute("insert into sweephand.paused (type) values ('ship')")
    old, new = stored("ship", {"grams": 1}), stored("send_parcel", {"grams": 1})
    app.run(app.tick(linger=0))
    assert (found(old)["status"], found(new)["status"]) == ("pending", "completed")


def test_the_index_has_a_lane_for_each_name(stack_with_renamed: Services) -> None:
    """A job that is due soon waits in the index under the type that it was stored with."""
    job, _ = app.creator()({"type": "ship", "payload": {"grams": 7}}, "tests")
    with redis.Redis.from_url(stack_with_renamed.valkey.url) as client:
        lanes = [key for key in client.scan_iter() if client.type(key) == b"zset" and b"ship" in key]
        members = [client.zrange(key, 0, -1) for key in lanes]
    assert members == [[str(job["id"]).encode()]]


def test_the_document_names_them(stack_with_renamed: Services) -> None:
    """The OpenAPI document has one request for a handler, which takes each of its names."""
    schemas = document(app.handlers())["components"]["schemas"]
    assert schemas["SendParcelRequest"]["properties"]["type"]["enum"] == ["send_parcel", "ship", "post.parcel"]
    mapping = schemas["JobRequest"]["discriminator"]["mapping"]
    assert mapping["ship"] == mapping["send_parcel"] == "#/components/schemas/SendParcelRequest"
    assert [ref["$ref"] for ref in schemas["JobRequest"]["oneOf"]].count(mapping["ship"]) == 1
