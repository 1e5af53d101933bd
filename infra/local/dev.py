"""`sweephand dev`: every service and every function on this machine, until Ctrl-C.

Services, gateway, tick server, scheduler start in this order and stop in the reverse. The data stays.
"""

import errno
import math
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg

from sweephand.layout import MAIN
from sweephand.settings import DEFAULT_BUDGET

from ..supabase.migrate import MigrationError
from .external_services import ExternalServices
from .greeting import greeting
from .services.data_folder import DataFolder
from .services.postgrest import MISSING, find_postgrest
from .services.service import ServiceError
from .services.services import Services
from .serving import serverless_yml
from .serving.function_server import Functions, FunctionServer
from .serving.handler_files import HandlerFiles
from .serving.job_lines import JobLines
from .serving.scheduler import Scheduler, TriggerServer
from .stop_signal import Stopped, StopSignal
from .supervise import Reloader, Supervisor

PORT = 8080
DATA_DIR = Path(".sweephand")
PROXIES = ("http_proxy", "all_proxy", "ALL_PROXY")
"""The variables that name curl's proxy for http://."""
POLL = 0.1
"""Seconds between two looks at the clock, the processes and the stop signal."""
TICK_GRACE = 30
"""Seconds beyond a tick's budget that a stopped tick gets: it starts no further job, and its jobs may end."""
WITHOUT_POSTGREST = (
    "PostgREST is missing (npm install brings it), so the functions call PostgreSQL itself: STORE=direct"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What one run serves, and where."""

    port: int = PORT
    tick_seconds: float | None = None
    """Time between ticks, above 0; None for the schedule in `routes`."""
    data_dir: Path = DATA_DIR
    source: Path = MAIN
    """The file that exports the functions."""
    routes: Path = serverless_yml.FILE

    @classmethod
    def read(cls, env: Mapping[str, str], source: Path) -> "Settings":
        """Read PORT, TICK_SECONDS and DATA_DIR. Raises ServiceError, which names the variable."""
        port, seconds = env.get("PORT") or str(PORT), env.get("TICK_SECONDS") or None
        if not port.isdecimal() or not 1 <= int(port) <= 65535:  # noqa: PLR2004 - TCP's ports
            raise ServiceError(f"PORT is a number from 1 to 65535, not {port!r}")
        return cls(
            port=int(port),
            tick_seconds=_seconds(seconds) if seconds else None,
            data_dir=Path(env.get("DATA_DIR") or DATA_DIR),
            source=source,
        )


def run(env: Mapping[str, str] = os.environ, source: Path = MAIN) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit status: 0 then, 1 after one line when it cannot start.

    `env` gives PORT, TICK_SECONDS and DATA_DIR, as `Settings` has them; SUPABASE_URL with SUPABASE_KEY, and
    REDIS_URL, name real services, used in place of ours. `source` is the file that exports the functions.
    """
    os.umask(0o077)  # only the owner may read what we, or the programs that we start, write
    stop = StopSignal()
    with stop.handled():
        try:
            _serve(Settings.read(env, source), env, stop)
        except Stopped:
            pass
        except (ServiceError, MigrationError, serverless_yml.RoutesError, psycopg.Error) as error:
            print(f"sweephand: {error}", file=sys.stderr)
            return 1
    return 0


def _serve(settings: Settings, env: Mapping[str, str], stop: StopSignal) -> None:
    """Bring everything up, then keep it going until `stop` raises Stopped."""
    _check_port(settings.port)
    events = serverless_yml.read(settings.routes)
    if not events.schedules:
        raise serverless_yml.RoutesError(f"{settings.routes} has no schedule, so nothing would start a tick")
    tick = events.schedules[0]
    seconds = settings.tick_seconds or tick.seconds
    external = ExternalServices.of(env, DataFolder(settings.data_dir).known_secrets())
    services = Services(
        settings.data_dir,
        record=not external.record,
        rest=external.record or _has_postgrest(env),
        index=not external.index,
        say=_say,
    )
    try:
        values = external.over(services.env, f"http://127.0.0.1:{settings.port}")
        files = HandlerFiles(values)
        if settings.source == MAIN:
            files.check()
    except BaseException:
        services.stop()
        raise
    with services, ExitStack() as running:
        stop.check()
        services.folder.write_env(values)
        log = services.folder.log
        ticks = FunctionServer(
            "the tick server",
            Functions(str(settings.source), function=tick.function, grace=_budget(values) + TICK_GRACE),
            env=values,
            log=log("tick"),
        )
        scheduler = Scheduler(ticks.port, seconds, _say)
        trigger = running.enter_context(TriggerServer(scheduler))
        gateway = FunctionServer(
            "the gateway",
            Functions(str(settings.source), routes=str(settings.routes)),
            env={**values, "WAKE_URL": env.get("WAKE_URL", trigger.url)},
            log=log("gateway"),
            port=settings.port,
        )
        servers = [gateway, ticks]
        lines = JobLines(log("tick"), _say)
        running.callback(_stop, gateway, ticks, lines, stop, values)
        for server in servers:
            server.spawn()
        for server in servers:
            server.wait_ready()
        _say(f"functions of {settings.source.name} behind the routes of {settings.routes.name}")
        proxied = any(env.get(name) for name in PROXIES)
        print(greeting(values, settings.data_dir, seconds, proxied=proxied), flush=True)
        supervisor = Supervisor(services.started, servers, _say)
        _keep_going([supervisor, Reloader(files, servers, _say), lines, scheduler], stop)


def _has_postgrest(env: Mapping[str, str]) -> bool:
    """Tell whether PostgREST can be started; say so where it cannot.

    Raises ServiceError where it cannot and STORE=rest asks for it.
    """
    if find_postgrest():
        return True
    if env.get("STORE") == "rest":
        raise ServiceError(MISSING)
    _say(WITHOUT_POSTGREST)
    return False


class Polled(Protocol):
    """A part that needs a look again and again while everything runs."""

    def poll(self) -> None:
        """Do the work that is due now, without waiting."""
        ...


def _keep_going(parts: list[Polled], stop: StopSignal) -> None:
    while True:
        stop.check()
        for part in parts:
            part.poll()
        time.sleep(POLL)


def _stop(
    gateway: FunctionServer, ticks: FunctionServer, lines: JobLines, stop: StopSignal, values: Mapping[str, str]
) -> None:
    """End the functions. Running jobs get their time, unless a second signal comes."""
    _say("stopping")
    for server in (gateway, ticks):
        server.signal(server.stop_signal)
    jobs: list[dict[str, Any]] | None = None
    while ticks.pid is not None and not stop.impatient:
        if jobs is None and (jobs := ticks.jobs()):
            seconds = max(job["s"] for job in jobs)
            _say(f"{_jobs(jobs)} still: waiting at most {max(1, round(seconds))} s; Ctrl-C again ends at once")
        lines.poll()
        time.sleep(POLL)
    if ticks.pid is not None:
        ticks.kill()
        if jobs:
            from .lost_jobs import settle_as_lost  # noqa: PLC0415 - rarely needed, and its imports take time

            settle_as_lost(jobs, values, _say)
            _say(f"{_jobs(jobs)} no more: counted as a crash, due again")
    lines.poll()
    for server in (gateway, ticks):
        server.stop()


def _jobs(jobs: list[dict[str, Any]]) -> str:
    return f"job {jobs[0]['id']} runs" if len(jobs) == 1 else f"{len(jobs)} jobs run"


def _budget(values: Mapping[str, str]) -> int:
    """Return for how many seconds a tick may work."""
    return math.ceil(float(values.get("TICK_BUDGET_SECONDS") or DEFAULT_BUDGET))


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= 86400:  # noqa: PLR2004 - a day
        raise ServiceError(f"TICK_SECONDS is a number above 0 and up to 86400, not {text!r}")
    return value


def _check_port(port: int) -> None:
    """Raise ServiceError for a port that is taken, before anything is started."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the gateway's own socket
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "in use" if taken else (error.strerror or "refused").lower()
            raise ServiceError(f"port {port} is {reason}: set PORT to another one") from None


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(run())
