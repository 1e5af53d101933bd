"""What a handler's author tests with: one attempt in memory, or jobs in a real record whose time is moved.

`run` needs nothing but the handler. `local_record` needs the `local` extra: it starts a PostgreSQL of its own.
"""

import asyncio
import json
import logging
import os
import secrets
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from pydantic import BaseModel

from sweephand import app
from sweephand.domain.attempt import (
    Outcome,
    PayloadInvalid,
    Succeeded,
    TimedOut,
    outcome_of_error,
    outcome_of_result,
    validate,
)
from sweephand.domain.errors import ConfigError
from sweephand.domain.handler import Context, GiveUp, Handler
from sweephand.domain.json_value import JsonValue
from sweephand.domain.services import HttpAnswer, HttpCall
from sweephand.handlers.mail.mailer import ComposingMailer
from sweephand.handlers.mail.outgoing import OutgoingMail
from sweephand.handlers.objects.url import parse_object_url
from sweephand.handlers.registry import handler_of
from sweephand.layout import module

SENDER = "sweephand@example.com"
"""The From of mails to which a handler gives none."""
OURS = ("REDIS_URL", "WAKE_URL", "DRAINERS_URL", "MAX_DRAINERS", "RETENTION_DAYS", "SUPABASE_URL", "SUPABASE_KEY")
"""Settings that name other services: they do not hold while a local record is in use."""
LOOPBACK = ("127.0.0.1", "localhost", "::1", None)
MOVE = "update sweephand.open set run_at = run_at - %(by)s, expires_at = expires_at - %(by)s"
NEXT = (
    "select min(run_at) - clock_timestamp() + interval '1 ms' from sweephand.open where run_at > clock_timestamp()"
)


@dataclass(frozen=True, slots=True)
class Ran:
    """What one attempt did."""

    outcome: Outcome
    """How the attempt ended, as `sweephand.domain.attempt` has it: `Succeeded`, `Failed`, `GaveUp`, …"""
    mails: Sequence[EmailMessage]
    """The mails that it sent, complete, in their order."""
    objects: Mapping[str, bytes]
    """Every object by its URL: those that were there, and those that it wrote."""
    calls: Sequence[HttpCall]
    """The requests that it made with `ctx.http`, in their order. None left this process."""
    log: Sequence[str]
    """The messages that it logged with `ctx.log`, each with its level: `INFO greeting`."""

    @property
    def result(self) -> JsonValue:
        """The JSON value that the handler returned; raises `AssertionError` when the attempt did not succeed."""
        if isinstance(self.outcome, Succeeded):
            return self.outcome.result
        raise AssertionError(f"the attempt did not succeed: {self.outcome}")


def run(  # noqa: PLR0913 - each is a part of the handler's world, by name
    handler: Callable[..., Any],
    payload: Mapping[str, Any] | BaseModel,
    *,
    objects: Mapping[str, bytes] | None = None,
    answers: Mapping[str, HttpAnswer] | None = None,
    attempt: int = 1,
    job_id: UUID | None = None,
) -> Ran:
    """Run one attempt of a decorated function in this process, with mail and objects in memory.

    `payload` is what the record would hold: it is upgraded and validated as in a tick. `objects` are there before,
    by URL. `answers` are what `ctx.http` gets, by URL; any other URL answers 200 with an empty body. `attempt`
    counts from 1. An `async def` is ended at its time limit; a `def` runs in the calling thread, whatever its
    isolation, and has no time limit. Raises `ValueError` for a function that is no handler.
    """
    found = handler_of(handler)
    stored = payload.model_dump(mode="json") if isinstance(payload, BaseModel) else json.loads(json.dumps(payload))
    mail, store, log = _Mails(), _Objects(dict(objects or {})), _Lines()
    # Not getLogger's, which every run shares: this one keeps its lines apart, and passes them on for caplog.
    logger = logging.Logger(f"sweephand.handler.{found.name}", logging.DEBUG)  # noqa: LOG001
    logger.parent = logging.getLogger(logger.name)
    logger.addHandler(log)
    mailer = ComposingMailer(mail, SENDER)
    http = _Calls(answers or {})
    ctx = Context(job_id or uuid4(), attempt, monotonic() + found.timeout, logger, store, mailer, http)
    return Ran(_outcome(found, stored, ctx), mail.sent, store.by_url, http.made, log.lines)


def _outcome(handler: Handler, stored: Mapping[str, JsonValue], ctx: Context) -> Outcome:
    payload = validate(handler, stored)
    if isinstance(payload, PayloadInvalid):
        return payload
    try:
        result = handler.run(payload, ctx)
        if asyncio.iscoroutine(result):
            return _awaited(lambda: _within(result, handler.timeout))
        return outcome_of_result(result)
    except Exception as e:  # noqa: BLE001 - a handler may raise anything
        return outcome_of_error(e)


async def _within(coroutine: Any, limit: float) -> Outcome:
    try:
        async with asyncio.timeout(limit) as timer:
            return outcome_of_result(await coroutine)
    except TimeoutError as e:
        return TimedOut(limit, stuck=False) if timer.expired() else outcome_of_error(e)


def _awaited(make: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
    """Run what `make` returns to its end; beside an event loop that runs already, in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(make())).result()


class _Calls:
    """Answers calls of URLs from memory, and keeps them."""

    def __init__(self, answers: Mapping[str, HttpAnswer]) -> None:
        self._answers = answers
        self.made: list[HttpCall] = []

    async def call(self, call: HttpCall) -> HttpAnswer:
        self.made.append(call)
        ok = HttpAnswer(200, {}, b"", truncated=False, url=call.url, redirect=None)
        return self._answers.get(call.url, ok)


@dataclass(slots=True)
class _Mails:
    """A transport that keeps each message as its receiver would read it."""

    sent: list[EmailMessage] = field(default_factory=list)

    def deliver(self, letter: OutgoingMail, /) -> str:
        message = message_from_bytes(letter.body, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.sent.append(message)
        return letter.message_id


@dataclass(slots=True)
class _Objects:
    """An object store in memory. It allows every URL of the right form."""

    by_url: dict[str, bytes]

    def read(self, url: str, *, limit: int) -> bytes:
        _check_url(url)
        body = self.by_url.get(url)
        if body is None:
            raise GiveUp(f"there is no object at {url}")
        if len(body) > limit:
            raise GiveUp(f"the object at {url} has {len(body)} bytes, more than {limit}")
        return body

    def write(self, url: str, body: bytes, *, content_type: str) -> None:  # noqa: ARG002 - the port's
        _check_url(url)
        self.by_url[url] = body


def _check_url(url: str) -> None:
    try:
        parse_object_url(url)
    except ValueError as problem:
        raise GiveUp(f"the object's URL is not allowed: {problem}") from None


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def run_due(until: datetime | timedelta = timedelta(0), *, database_url: str | None = None) -> int:
    """Run every job that comes due until then, as if that time had passed; return how many attempts started.

    `until` is a length of time from now, or an instant with an offset. The record is the one that the environment
    names; `database_url`, by default DATABASE_URL, is its owner's. `run_due` runs a tick, moves every open job
    nearer by the time to the next due one, and runs a tick again. So jobs run in the order of their due times, and
    retries run too when their wait ends before `until`. `scheduled_at` stays as it is.

    Raises `ConfigError` for a database that is not on this machine, and where REDIS_URL is set: the index would not
    learn of the move.
    """
    url = database_url or app.settings().database_url
    if not url or urlsplit(url).hostname not in LOOPBACK:
        raise ConfigError("run_due moves the time of every job: DATABASE_URL must name a database on this machine.")
    if app.settings().redis_url:
        raise ConfigError("run_due works without an index: unset REDIS_URL.")
    import psycopg  # noqa: PLC0415 - needs the packages of the `direct` extra

    left = until if isinstance(until, timedelta) else until - datetime.now(UTC)
    with psycopg.connect(url, autocommit=True) as connection:
        started = _tick()
        while (wait := _first(connection, NEXT)) is not None and wait <= left:
            connection.execute(MOVE, {"by": wait})
            left -= wait
            started += _tick()
        connection.execute(MOVE, {"by": max(left, timedelta(0))})
    return started


def _first(connection: Any, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _tick() -> int:
    report = app.run(app.tick(linger=0))
    if report.stuck:
        raise RuntimeError("a handler passed its time limit and could not be ended: it still runs in a thread")
    return report.started


class LocalRecord:
    """Jobs in the record that the environment names; `local_record` makes one."""

    def create(self, type_: str, payload: Mapping[str, Any], **fields: Any) -> str:
        """Create a job as `POST /jobs` does and return its id; raises `InvalidError` for what that refuses.

        `fields` are the other fields of the request, such as `scheduled_at="2027-01-31T18:30:00Z"`.
        """
        job, _ = app.creator()({"type": type_, "payload": dict(payload), **fields}, "tests")
        return str(job["id"])

    def job(self, id_: str) -> Mapping[str, JsonValue]:
        """Return a job as `GET /jobs/{id}` shows it; raises `LookupError` for an id that is none."""
        found = app.record().get(UUID(id_))
        if found is None:
            raise LookupError(id_)
        return found

    def run_due(self, until: datetime | timedelta = timedelta(0)) -> int:
        """Run every job that comes due until then: see `sweephand.testing.run_due`."""
        return run_due(until)


@contextmanager
def local_record(folder: Path, *, handlers: Sequence[str] = ()) -> Iterator[LocalRecord]:
    """Start PostgreSQL in `folder`, migrate it, and point this process's settings at it until the block ends.

    `handlers` are modules, as HANDLERS names them. There is no index. Mail goes to `outbox` and objects go to
    `objects` below the folder. Takes some seconds: make it once for a whole test session.
    """
    postgres = module("infra.local.services.postgres").Postgres(
        folder / "postgres", password=secrets.token_urlsafe(24)
    )
    owner = secrets.token_urlsafe(24)
    postgres.start()
    try:
        module("infra.local.services.postgrest").create_roles(
            postgres.url(), postgres=owner, authenticator=secrets.token_urlsafe(24)
        )
        url = postgres.url("postgres", owner)
        module("infra.supabase.migrate").migrate(url, say=lambda _line: None)
        (folder / "objects").mkdir(exist_ok=True)
        settings = {
            "STORE": "direct",
            "DATABASE_URL": url,
            "HANDLERS": ",".join(handlers),
            "MAIL_URL": f"file://{folder}/outbox",
            "MAIL_FROM": SENDER,
            "STORAGE_PREFIXES": f"file://{folder}/objects/",
        }
        with _environment(settings):
            yield LocalRecord()
    finally:
        postgres.stop()


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Replace this process's settings, and what the composition root made of them, for a while."""
    before = dict(os.environ)
    for name in OURS:
        os.environ.pop(name, None)
    os.environ.update(settings)
    _forget()
    try:
        yield
    finally:
        app.close()
        os.environ.clear()
        os.environ.update(before)
        _forget()


def _forget() -> None:
    for made in vars(app).values():
        if callable(clear := getattr(made, "cache_clear", None)):
            clear()
