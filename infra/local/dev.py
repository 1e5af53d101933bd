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

import httpx
import psycopg

from sweephand.layout import MAIN
from sweephand.settings import DEFAULT_BUDGET

from ..supabase.migrate import MigrationError
from .dev_env import ExternalServices, greeting
from .services.folder import DataFolder
from .services.service import Service, ServiceError
from .services.services import Services
from .serving import routes
from .serving.function_server import Functions, FunctionServer
from .serving.handler_files import HandlerFiles
from .serving.job_lines import JobLines
from .serving.scheduler import Scheduler, WakeServer
from .stop_signal import Stopped, StopSignal

PORT = 8080
DATA_DIR = Path(".sweephand")
PROXIES = ("http_proxy", "all_proxy", "ALL_PROXY")
"""What curl takes a proxy for http:// from."""
POLL = 0.1
"""Seconds between two looks at the clock, the processes and the stop signal."""
TICK_GRACE = 30
"""Seconds beyond a tick's budget that one under way gets at the end: it starts nothing more, what runs goes on."""
ENDED = "the local emulation was ended while this attempt ran"
"""The error that such an attempt is recorded with."""
LOOK = 0.5
"""Seconds between two looks at the handlers' files."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one run serves, and where."""

    port: int = PORT
    tick_seconds: float | None = None
    """Time between ticks, above 0; None for the schedule in `routes`."""
    data_dir: Path = DATA_DIR
    source: Path = MAIN
    """The file that exports the functions."""
    routes: Path = routes.FILE

    @classmethod
    def of(cls, env: Mapping[str, str], source: Path) -> "Settings":
        """Read PORT, TICK_SECONDS and DATA_DIR. Raises ServiceError for a value that makes no sense."""
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
    os.umask(0o077)  # whatever is written, by us or by what we start, is the owner's alone
    stop = StopSignal()
    with stop.handled():
        try:
            _serve(Settings.of(env, source), env, stop)
        except Stopped:
            pass
        except (ServiceError, MigrationError, routes.RoutesError, psycopg.Error) as error:
            print(f"sweephand: {error}", file=sys.stderr)
            return 1
    return 0


def _serve(settings: Settings, env: Mapping[str, str], stop: StopSignal) -> None:
    """Bring everything up, then keep it going until `stop` raises Stopped."""
    _check_port(settings.port)
    events = routes.read(settings.routes)
    if not events.schedules:
        raise routes.RoutesError(f"{settings.routes} has no schedule: nothing would tick")
    tick = events.schedules[0]
    seconds = settings.tick_seconds or tick.seconds
    given = ExternalServices.of(env, DataFolder(settings.data_dir).made())
    stack = Services(settings.data_dir, record=not given.record, index=not given.index, say=_say)
    try:
        values = given.over(stack.env, f"http://127.0.0.1:{settings.port}")
        files = HandlerFiles(values)
        if settings.source == MAIN:
            files.check()
    except BaseException:
        stack.stop()
        raise
    with stack, ExitStack() as running:
        stop.check()
        stack.folder.write_env(values)
        log = stack.folder.log
        ticks = FunctionServer(
            "the tick server",
            Functions(str(settings.source), function=tick.function, grace=_budget(values) + TICK_GRACE),
            env=values,
            log=log("tick"),
        )
        scheduler = Scheduler(ticks.port, seconds, _say)
        wakes = running.enter_context(WakeServer(scheduler))
        gateway = FunctionServer(
            "the gateway",
            Functions(str(settings.source), routes=str(settings.routes)),
            env={**values, "WAKE_URL": env.get("WAKE_URL", wakes.url)},
            log=log("gateway"),
            port=settings.port,
        )
        servers = [gateway, ticks]
        lines = JobLines(log("tick"), _say)
        running.callback(_stop, gateway, ticks, lines, stop, Losses(values))
        for server in servers:
            server.spawn()
        for server in servers:
            server.wait_ready()
        _say(f"functions of {settings.source.name} behind the routes of {settings.routes.name}")
        proxied = any(env.get(name) for name in PROXIES)
        print(greeting(values, settings.data_dir, seconds, proxied=proxied), flush=True)
        _keep_going([Supervisor(stack.services, servers), Reload(files, servers), lines, scheduler], stop)


class Supervisor:
    """Looks after the processes: functions' servers come back, as in a cloud; a lost service is told once."""

    def __init__(self, services: list[Service], servers: list[FunctionServer]) -> None:
        self._services = list(services)
        self._servers = servers

    def poll(self) -> None:
        """Restart and report what has ended since the last look."""
        for server in self._servers:
            if server.pid is None:
                _say(f"{server.name} ended with status {server.returncode} and is started again")
                server.spawn()
        for service in [each for each in self._services if each.pid is None]:
            _say(f"{service.name} ended with status {service.returncode}; its log is {service.log}")
            self._services.remove(service)


class Reload:
    """Loads the functions anew when a handler's file has changed; what runs goes on with the code it began with."""

    def __init__(self, files: HandlerFiles, servers: list[FunctionServer]) -> None:
        self._files, self._servers = files, servers
        self._next = time.monotonic()

    def poll(self) -> None:
        """Look if it is time. A file that cannot be loaded is told, and leaves the code that runs as it is."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK
        changed = self._files.changed()
        if not changed:
            return
        names = ", ".join(sorted(file.name for file in changed))
        try:
            self._files.check()
        except ServiceError as error:
            _say(f"{names} changed and is not loaded: {error}")
            return
        for server in self._servers:
            server.reload()
        _say(f"{names} changed: the handlers are loaded anew")


class Losses:
    """Tells the record of jobs whose process was ended, so that they do not wait for their leases to run out."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def settle(self, jobs: list[dict[str, Any]]) -> None:
        """Count a crash for each of `jobs` and free its lease; one that has ended meanwhile stays as it is."""
        key = self._env["SUPABASE_KEY"]
        outcomes = [{"id": job["id"], "token": job["token"], "to": "lost", "error": ENDED} for job in jobs]
        headers = {"apikey": key, **({} if key.startswith("sb_") else {"Authorization": f"Bearer {key}"})}
        url = f"{self._env['SUPABASE_URL'].rstrip('/')}/rest/v1/rpc/sweephand_settle_v1"
        try:
            body = {"outcomes": outcomes}
            httpx.post(url, json=body, headers=headers, timeout=5, trust_env=False).raise_for_status()
        except (httpx.HTTPError, KeyError) as error:
            _say(f"the record was not told ({type(error).__name__}): each is started again when its lease ends")


class Polled(Protocol):
    """What is looked after while everything runs."""

    def poll(self) -> None:
        """Look, and do what is to be done now."""
        ...


def _keep_going(parts: list[Polled], stop: StopSignal) -> None:
    while True:
        stop.check()
        for part in parts:
            part.poll()
        time.sleep(POLL)


def _stop(
    gateway: FunctionServer, ticks: FunctionServer, lines: JobLines, stop: StopSignal, losses: Losses
) -> None:
    """End the functions: jobs that run get their time, unless a second signal comes."""
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
            losses.settle(jobs)
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
    """Refuse a port that is taken before anything is started."""
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
