"""The composition root: the one place that knows which adapter stands behind each port.

What is made is kept for as long as the process lives, so that a warm function finds its connections open.
"""

import functools
import gc
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from sweephand import settings as settings_module
from sweephand.adapters import label_output
from sweephand.adapters.background import Threads
from sweephand.adapters.clock import SystemClock
from sweephand.domain.attempt import Attempt
from sweephand.domain.errors import ConfigError
from sweephand.domain.handler import Context, Handler, Isolation
from sweephand.domain.services import Mailer, ObjectStore
from sweephand.handlers import registry
from sweephand.handlers.http_call import allow
from sweephand.http import auth
from sweephand.ports.index import Index
from sweephand.ports.record import Record, Rpc
from sweephand.ports.runner import Runner
from sweephand.usecases.create import Announcer, CreateJobs, Reach

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Sequence

    from werkzeug import Request

    from sweephand.domain.json_value import JsonValue
    from sweephand.handlers.http_call.service import HttpService
    from sweephand.ports.record import DueSchedules
    from sweephand.ports.schedules import Schedules
    from sweephand.ports.tick_trigger import TickTrigger
    from sweephand.usecases.retention import Retention
    from sweephand.usecases.schedules.make import RunNow
    from sweephand.usecases.tick.pages import PageReader
    from sweephand.usecases.tick.report import Report
    from sweephand.usecases.tick.tick import Tick


log = logging.getLogger("sweephand")
_open = ExitStack()
_making = threading.Lock()
_ending = threading.Event()
_ticks: "dict[Tick, AbstractEventLoop]" = {}
SCHEDULE = 60.0
"""Seconds between two scheduled ticks: Python's copy of the rate in `serverless.yml`, held to it by a test."""
START_SLACK = 1.0
"""Seconds of the budget that a tick takes to connect, read a page and claim before its first job can start.

A time limit that leaves less would be accepted and its jobs never started: each tick would come to them too late.
"""
LEAST_LIMIT = 5.0
"""Seconds: a tick that has less for a handler is refused, also where the handler heeds its deadline."""


@functools.cache
def settings() -> settings_module.Settings:
    """Return the settings of this process; raises `ConfigError`."""
    return settings_module.read(os.environ)


@functools.cache
def handlers() -> Mapping[str, Handler]:
    """Return every handler by its name; raises `ConfigError` for a module of HANDLERS that cannot be loaded."""
    allow.install(allowed())
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        loaded = registry.load(settings().handler_modules)
    except (ImportError, ValueError) as e:
        raise ConfigError(f"HANDLERS: {e}") from e
    if not label_output.wanted():
        return loaded
    return {name: label_output.labelled(handler) for name, handler in loaded.items()}


@functools.cache
def rpc() -> Rpc:
    """Return what calls the record's functions; raises `ConfigError` where it is not configured."""
    if settings().store == "direct":
        from sweephand.adapters import direct

        over_libpq = direct.connect(settings_module.required(settings().database_url, "DATABASE_URL"))
        _open.callback(over_libpq.close)
        return over_libpq
    from sweephand.adapters import rest

    url = settings_module.required(settings().supabase_url, "SUPABASE_URL")
    made = rest.connect(url, settings_module.required(settings().supabase_key, "SUPABASE_KEY"))
    _open.callback(made.close)
    return made


@functools.cache
def record() -> Record:
    """Return the record; raises `ConfigError` where it is not configured."""
    return Record(rpc())


@functools.cache
def schedules() -> "Schedules":
    """Return the record's schedules; raises `ConfigError` where the record is not configured."""
    from sweephand.ports.schedules import Schedules

    return Schedules(rpc())


def schedule_runner() -> "RunNow":
    """Return what makes a job of a schedule now."""
    from sweephand.usecases.schedules.make import RunNow

    return RunNow(schedules(), SystemClock(), handlers(), announcer())


@functools.cache
def index() -> Index | None:
    """Return the index, or None where there is no REDIS_URL: the record is then drained directly."""
    if not settings().redis_url:
        return None
    from sweephand.adapters import redis

    server = redis.RedisServer(settings().redis_url)
    _open.callback(server.close)
    return Index(server)


def close() -> None:
    """Close every connection that was made; what made them is not to be used again."""
    _open.close()


def creator() -> CreateJobs:
    """Return what creates jobs; one for all threads, as it remembers when it triggered a tick."""
    with _making:
        return _creator()


@functools.cache
def _creator() -> CreateJobs:
    return CreateJobs(record(), SystemClock(), handlers(), announcer())


@functools.cache
def announcer() -> Announcer:
    """Return what announces new jobs."""
    reach = Reach(
        round(settings_module.HORIZON * 1000),
        round(min(settings().linger, settings().tick_budget, SCHEDULE) * 1000),
    )
    trigger = tick_trigger if settings().wake_url else None
    return Announcer(index(), trigger, reach, SystemClock(), background(), threading.Lock())


@functools.cache
def background() -> Threads:
    """Return what does work that nobody has to wait for."""
    return Threads()


@functools.cache
def tick_trigger() -> "TickTrigger":
    """Return what starts a tick for a new job; raises `ConfigError` for a WAKE_URL of no kind."""
    from sweephand.adapters.trigger_tick import open_trigger

    return open_trigger(settings().wake_url)


def caller(request: "Request") -> auth.Caller:
    """Return who sent the request; raises `UnauthorizedError`."""
    return auth.authenticate(request.headers.get("Authorization"), settings().api_key_hashes)


@functools.cache
def mailer() -> Mailer:
    """Return what sends mail."""
    from sweephand.handlers.mail.mailer import open_mailer

    return open_mailer(settings().mail_url or None, settings().mail_from or None)


@functools.cache
def objects() -> ObjectStore:
    """Return the object store."""
    from sweephand.handlers.objects.store import PrefixedObjectStore

    env = os.environ.get
    return PrefixedObjectStore(
        ",".join(settings().storage_prefixes),
        s3_endpoint=env("AWS_ENDPOINT_URL_S3") or env("AWS_ENDPOINT_URL"),
        s3_region=env("AWS_REGION") or env("AWS_DEFAULT_REGION"),
        gcs_endpoint=_with_scheme(env("STORAGE_EMULATOR_HOST")),
    )


def allowed() -> allow.Allowed:
    """Return what HTTP_ALLOW opens; raises `ConfigError`."""
    try:
        return allow.Allowed.of(settings().http_allow)
    except ValueError as e:
        raise ConfigError(f"HTTP_ALLOW: {e}") from e


@functools.cache
def http() -> "HttpService":
    """Return what calls URLs; raises `ConfigError` for an HTTP_ALLOW, HTTP_CA_FILE or signing key of no use."""
    from sweephand.handlers.http_call.service import open_http

    return open_http(allowed(), settings().http_ca_file, settings().webhook_signing_keys)


def _with_scheme(host: str | None) -> str | None:
    """Return an emulator's URL; Google's own tools take it without a scheme."""
    return f"http://{host}" if host and "://" not in host else host


def context(attempt: Attempt) -> Context:
    """Return what a handler is told of its attempt."""
    return Context(
        job_id=UUID(attempt.claim.id),
        attempt=attempt.number,
        deadline=time.monotonic() + attempt.handler.timeout,
        log=_logger(attempt.handler.name),
        objects=objects(),
        mail=mailer(),
        http=http(),
    )


@functools.cache
def _logger(handler: str) -> logging.Logger:
    return logging.getLogger(f"sweephand.handler.{handler}")


def runners() -> Mapping[Isolation, Runner]:
    """Return a runner for each isolation, new: a tick closes its own."""
    from sweephand.adapters.run_async import AsyncRunner
    from sweephand.adapters.run_process import ProcessRunner
    from sweephand.adapters.run_thread import ThreadRunner, in_thread

    return {
        Isolation.ASYNC: AsyncRunner(settings().async_slots, context),
        Isolation.THREAD: ThreadRunner(settings().thread_slots, in_thread(context)),
        Isolation.PROCESS: ProcessRunner(
            settings().process_slots,
            [sys.executable, "-m", "sweephand.child"],
            _child_environment(),
        ),
    }


def _child_environment() -> dict[str, str]:
    """Return the environment of a child that is to import what this process can."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@functools.cache
def page_reader() -> "PageReader":
    """Return what reads the record's pages; its rotation lasts as long as the process."""
    from sweephand.usecases.tick.pages import PageReader

    return PageReader(record(), round(settings_module.HORIZON * 1000), _make_fires)


def _make_fires(due: "DueSchedules") -> int:
    from sweephand.usecases.tick.fires import make_fires

    return make_fires(record(), handlers(), due)


@functools.cache
def drainers() -> "TickTrigger | None":
    """Return what starts drainers, or None without a DRAINERS_URL; raises `ConfigError` for one of no kind."""
    from sweephand.adapters.trigger_tick import open_drainers

    if not settings().drainers_url:
        return None
    command = [sys.executable, "-m", "sweephand", "tick", "--drainer"]
    return open_drainers(settings().drainers_url, command, _child_environment())


@functools.cache
def retention() -> "Retention | None":
    """Return what deletes old jobs, or None where RETENTION_DAYS keeps them for ever."""
    from sweephand.usecases.retention import Retention

    return Retention(record(), round(settings().retention)) if settings().retention else None


def tick(
    budget: float | None = None, linger: float | None = None, *, drainer: bool = False, triggered: bool = False
) -> "Tick":
    """Return a tick that works for at most `budget` seconds and lingers for `linger` of them.

    Each is at most what the settings say, and that by default. A `drainer` was started by a tick: it does not
    linger, and starts no drainers. A tick that was `triggered` for a new job starts no drainers either.
    Raises `ConfigError` when a handler's time limit would not fit into TICK_BUDGET_SECONDS.
    """
    from sweephand.usecases.tick.budget import MARGIN, Limits
    from sweephand.usecases.tick.dependencies import Dependencies
    from sweephand.usecases.tick.tick import Tick

    most = settings()
    longest = most.tick_budget - MARGIN - START_SLACK
    fitted = {name: _fitted(handler, longest) for name, handler in handlers().items()}
    for handler in fitted.values():
        if handler.timeout > longest:
            raise ConfigError(
                f"handler {handler.name}: its time limit of {handler.timeout:g} s does not fit a tick of "
                f"{most.tick_budget:g} s less {START_SLACK:g} s for beginning and {MARGIN:g} s for settling; lower "
                f"it, or raise TICK_BUDGET_SECONDS to {handler.timeout + MARGIN + START_SLACK:g} or more."
            )
    http()  # a key that cannot sign is told before a job needs it
    clock = SystemClock()
    horizon_ms = round(settings_module.HORIZON * 1000)
    parts = Dependencies(
        *(record(), index(), clock, clock, fitted, runners(), page_reader(), horizon_ms, background()),
        drainers(),
        retention(),
    )
    limits = Limits(
        most.tick_budget if budget is None else min(budget, most.tick_budget),
        0 if drainer else most.linger if linger is None else min(linger, most.linger),
        0 if drainer or triggered else most.max_drainers,
    )
    return Tick(parts, limits)


def _fitted(handler: Handler, longest: float) -> Handler:
    """Return `handler` with a time limit of at most `longest` seconds, where it heeds its deadline."""
    if not handler.heeds_deadline or not LEAST_LIMIT <= longest < handler.timeout:
        return handler
    return replace(handler, timeout=longest)


def run_tick(
    event: object = None,
    *,
    budget: float | None = None,
    linger: float | None = None,
    line: "Callable[[Mapping[str, JsonValue]], Mapping[str, JsonValue]]" = dict,
    retire_after: float = 0,
) -> "Report":
    """Run one tick to its end, print its report as one line of JSON, and return the report.

    `event` is what the caller was called with: `{"drainer": true}` comes from a tick that called for help,
    `{"triggered": true}` from what created a job; the schedule's is anything else. `line` makes of the report what
    is printed. Where a handler could not be ended, this process ends `retire_after` seconds later: a function
    that is thawed for the next tick would still be running that handler.

    Raises `ConfigError`, and what a tick raises when the record was away.
    """
    flags = event if isinstance(event, dict) else {}
    report = run(
        tick(budget, linger, drainer=flags.get("drainer") is True, triggered=flags.get("triggered") is True)
    )
    sys.stdout.write(json.dumps(line(report.json())) + "\n")
    sys.stdout.flush()
    if report.stuck:
        log.error("retiring: %d handlers passed their time limit and could not be ended", report.stuck)
        _retire(retire_after)
    return report


def _retire(after: float) -> None:
    if after:
        threading.Timer(after, os._exit, (1,)).start()
    else:
        os._exit(1)


def stop_ticks() -> None:
    """Have every tick of this process, later ones too, start nothing more and end when what runs has.

    May be called from any thread, and from a signal's handler.
    """
    _ending.set()
    for each, loop in list(_ticks.items()):
        with suppress(RuntimeError):  # its loop was closed this moment
            loop.call_soon_threadsafe(each.stop)


def running() -> "Sequence[tuple[Attempt, float]]":
    """Return what this process runs, each with the seconds until its time limit. Any thread may call this."""
    return [entered for each in list(_ticks) for entered in each.running()]


def run(new_tick: "Tick") -> "Report":
    """Run a tick to its end on an event loop of its own and return the report.

    Not `asyncio.run`: that waits for every task, and a handler that ignores its cancellation never ends. Where one
    is stuck, the loop is left as it is and the caller is to end the process.
    """
    import asyncio

    # The record's answers come in by threads, each of which waits up to this long for the loop to let go of the
    # interpreter, again and again in one call. On 3.11, 1 ms drained 20 to 30 % more than Python's 5 ms in two
    # interleaved runs a transport; on 3.13 the runs did not agree.
    sys.setswitchinterval(0.001)
    # A batch makes thousands of objects that live until it is settled. Looking through them for garbage at each
    # 700th or 2,000th new one, as Python does, is 6 to 8 % of what a drain takes.
    gc.set_threshold(50_000)
    loop = asyncio.new_event_loop()
    stuck = 0
    _ticks[new_tick] = loop
    if _ending.is_set():
        new_tick.stop()
    try:
        report = loop.run_until_complete(new_tick.run())
        stuck = report.stuck
        return report
    finally:
        del _ticks[new_tick]
        if not stuck:
            http().close(loop)
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
