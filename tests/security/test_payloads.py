"""Payloads that aim at what lies behind: SQL, Lua, log lines, files, other buckets, headers."""

import json
import logging
import uuid
from typing import Any

import pytest

from sweephand import app
from tests.chaos.conftest import deployment
from tests.tick.conftest import Deployment

__all__ = ["deployment"]

HOSTILE = [
    "'; drop schema sweephand cascade; --",
    "$$; select pg_sleep(100); $$",
    "\\'; select 1; --",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "redis.call('FLUSHALL')",
    "]]..redis.call('FLUSHALL')..[[",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "a\nERROR sweephand: a line that nobody logged",
    "\x1b[2J\x1b[31m",
    "../../../../etc/passwd",
    "%s%s%s%n",
    "\u202e\u2066 right to left",
    "x" * 20_000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_a_text(deployment: Deployment, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """It comes back as it went in, runs nothing anywhere, and stands in no line of a log.

    Guards: parameters by name in `SupabaseRpc`, `cjson.decode` in sync_and_claim.lua, logs without payloads.
    """
    caplog.set_level(logging.DEBUG, logger="sweephand")
    kept = deployment.create("note", {"text": "kept"})
    job = deployment.create("note", {"text": text})
    assert deployment.job(job)["payload"] == {"text": text}
    assert deployment.tick().completed == 2
    assert deployment.job(kept)["status"] == deployment.job(job)["status"] == "completed"
    ours = [record for record in caplog.records if record.name.startswith("sweephand")]
    assert not any(text in record.getMessage() for record in ours)


@pytest.mark.parametrize("type_", ["note:9", "note}", "{x}", "*", "note\n", "", "NOTE", "note'--", "a" * 65, "é"])
def test_a_type_is_never_part_of_a_command(deployment: Deployment, type_: str) -> None:
    """What is not a handler's name is refused, by the API and by the table: it cannot reach a Redis key."""
    with pytest.raises(Exception, match="type"):
        deployment.create(type_)
    with pytest.raises(Exception, match="check constraint"):
        deployment.sql.execute("insert into sweephand.jobs (type) values (%s)", (type_,))


@pytest.mark.parametrize("id_", ["' or 1=1 --", "00000000-0000-0000-0000-000000000000'", "*", "../x", "a" * 36])
def test_an_id_is_a_uuid_or_nothing(deployment: Deployment, id_: str) -> None:
    """No text reaches the record as an id."""
    with pytest.raises(ValueError, match="badly formed"):
        app.record().get(uuid.UUID(id_))


@pytest.mark.parametrize(
    ("type_", "payload"),
    [
        ("resize_image", {"source": "file:///etc/passwd", "target": "file:///etc/x.png", "width": 1}),
        ("resize_image", {"source": "s3://someone-elses/in.png", "target": "s3://someone-elses/x.png", "width": 1}),
        ("resize_image", {"source": "http://169.254.169.254/latest/meta-data", "target": "x.png", "width": 1}),
        ("generate_pdf", {"markdown": "# x", "target": "file:///etc/cron.d/x"}),
        ("generate_pdf", {"markdown": "# x", "target": "gs://someone-elses/x.pdf"}),
        ("http_request", {"url": "http://169.254.169.254/latest/meta-data/"}),
        ("http_request", {"url": "http://[::ffff:127.0.0.1]/"}),
        ("http_request", {"url": "http://localhost:9/"}),
        ("http_request", {"url": "https://example.com/", "headers": {"X": "a\r\nHost: b"}}),
        ("email_notification", {"to": "a@example.com\nBcc: b@example.com", "subject": "x", "message": "x"}),
        ("email_notification", {"to": "a@example.com", "subject": "x\r\nBcc: b@example.com", "message": "x"}),
        ("email_notification", {"to": "a@example.com", "subject": "x\u2028Bcc: b@example.com", "message": "x"}),
    ],
)
def test_what_aims_beside_the_target_ends_failed(
    deployment: Deployment, type_: str, payload: dict[str, Any]
) -> None:
    """Inserted by SQL, past the API's checks, it fails at its first attempt: nothing is read, written or sent."""
    before = sorted(p for p in deployment.stack.folder.path.joinpath("objects").rglob("*"))
    [job] = deployment.insert(type_, payload=json.dumps(payload), max_retries=3)
    deployment.tick()
    found = deployment.job(job)
    assert (found["status"], found["attempt"]) == ("failed", 1), found
    assert not any(deployment.stack.folder.path.joinpath("outbox").iterdir())
    assert sorted(p for p in deployment.stack.folder.path.joinpath("objects").rglob("*")) == before


@pytest.mark.parametrize("type_", ["boom", "hopeless", "quits", "returns"])
def test_errors_are_kept_in_the_record_and_told_by_name_in_the_log(
    deployment: Deployment, type_: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A log line tells the kind of an outcome; what the exception said may hold secrets and stays with the job.

    Guards: `type(outcome).__name__` where a tick logs what became of a job.
    """
    caplog.set_level(logging.DEBUG, logger="sweephand")
    job = deployment.create(type_, {"n": 4242, "text": "nan"}, max_retries=0)
    deployment.tick()
    assert deployment.job(job)["errors"]
    ours = [record for record in caplog.records if record.name.startswith("sweephand")]
    assert any(job in record.getMessage() for record in ours)
    assert not any("4242" in record.getMessage() or "Traceback" in record.getMessage() for record in ours)
    assert not any(record.exc_info for record in ours)
