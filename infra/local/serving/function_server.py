"""Serves functions over HTTP: gunicorn with one worker of several threads, in a process of its own.

`python -m infra.local.serving.function_server` is that process; its settings come as JSON in FUNCTION_SERVER.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from sweephand.layout import INSIDE, MAIN, ROOT
from sweephand.settings import without_proxies

from ..services.folder import write_private
from ..services.service import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

ARRIVING = 256
"""Requests that may be on their way in at once; each has the worker's ARRIVAL seconds."""


@dataclass(frozen=True, slots=True)
class Functions:
    """Which functions a server serves."""

    source: str
    """The file that exports them, as `main.py` does."""
    routes: str = ""
    """A `serverless.yml`: every function with a route is served behind it."""
    function: str = ""
    """In place of routes: this one alone, whatever the path, as a cloud's trigger calls it."""
    threads: int = 8
    """Requests answered at once."""
    grace: int = 3
    """Seconds that a stopped server gives to the requests it is answering."""
    port: int = 0
    jobs_file: str = ""
    """Where a stopped tick server writes the jobs that it waits for, as JSON."""
    ready_file: str = ""
    """What the server touches once the functions are loaded: it listens before that."""


class FunctionServer(Service):
    """The server's process."""

    def __init__(
        self, name: str, functions: Functions, *, env: Mapping[str, str], log: Path, port: int | None = None
    ) -> None:
        """Serve `functions` on 127.0.0.1, with `env` added to our own environment."""
        super().__init__(log, port)
        self.name = name
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready = log.with_suffix(".ready")
        self._jobs = log.with_suffix(".jobs")
        self.functions = replace(functions, port=self.port, ready_file=str(self._ready), jobs_file=str(self._jobs))
        self._env = env

    def prepare(self) -> None:
        """Forget that an earlier run was ready."""
        self._ready.unlink(missing_ok=True)
        self._jobs.unlink(missing_ok=True)

    def ready(self) -> bool:
        """Tell whether the functions are loaded and served."""
        return self._ready.exists()

    def command(self) -> list[str]:
        """Return this module as a program."""
        return [sys.executable, "-m", f"{__package__}.function_server"]

    def environment(self) -> dict[str, str]:
        """Return the functions' environment."""
        return {**environment(self._env), "FUNCTION_SERVER": json.dumps(asdict(self.functions))}

    def reload(self) -> None:
        """Have the functions loaded anew; requests under way, ticks among them, end in the old process."""
        self.signal(signal.SIGHUP)

    def jobs(self) -> list[dict[str, Any]] | None:
        """Return the jobs that a stopped server waits for: `id`, `token`, `type`, and `s`, the seconds they have.

        None before it has told.
        """
        try:
            told: list[dict[str, Any]] = json.loads(self._jobs.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return told


def environment(values: Mapping[str, str]) -> dict[str, str]:
    """Return our environment with `values`, and with the current folder on Python's import path."""
    env = {**os.environ, **values}
    env |= without_proxies(env)
    # Not in a wheel, where ROOT is the package itself: its `http` would hide Python's own.
    root = [] if INSIDE else [str(ROOT)]
    path = [os.getcwd(), *root, *filter(None, [env.get("PYTHONPATH")])]  # noqa: PTH109 - as text
    return {**env, "PYTHONPATH": os.pathsep.join(path)}


def load(functions: Functions) -> "WSGIApplication":
    """Return the WSGI application for `functions`."""
    # The starter needs no functions-framework.
    from sweephand import app  # noqa: PLC0415
    from sweephand.adapters import running_jobs  # noqa: PLC0415
    from sweephand.domain.errors import ConfigError  # noqa: PLC0415

    from . import request_limits, route_gateway, routes  # noqa: PLC0415

    if Path(functions.source) == MAIN:
        # Now, not at the first request: by then somebody may be in the midst of changing a handler's file.
        with suppress(ConfigError):  # each request tells of it
            app.handlers()
    if functions.function:
        running_jobs.label_output()
        alone = route_gateway.application(functions.function, Path(functions.source))
        return request_limits.Door(alone, functions.threads, scheduled=True)
    return request_limits.Door(
        route_gateway.gateway(routes.read(Path(functions.routes)), Path(functions.source)), functions.threads
    )


def options(functions: Functions) -> dict[str, object]:
    """Return gunicorn's settings."""
    return {
        "bind": f"127.0.0.1:{functions.port}",
        "worker_class": f"{__package__}.gunicorn_worker.Worker",
        "workers": 1,
        # Most of them wait for a request to arrive: the doors let `functions.threads` of them go on.
        "threads": ARRIVING,
        "timeout": 120,  # of the worker's heartbeat: a thread may take longer
        "graceful_timeout": functions.grace,
        "keepalive": 75,
        # Above what API Gateway lets pass (10,240 bytes of request line and headers), so ours decide.
        "limit_request_line": 0,
        "limit_request_field_size": 16384,
        "loglevel": "warning",
        "post_worker_init": lambda _worker: _ready(functions),
        "control_socket_disable": True,
        "proc_name": "sweephand",
    }


def _ready(functions: Functions) -> None:
    """Say that the functions are served; from now on SIGTERM winds up the ticks that run."""
    Path(functions.ready_file).touch()
    if not functions.function:
        return
    before = signal.getsignal(signal.SIGTERM)

    def wind_up(number: int, frame: FrameType | None) -> None:
        from sweephand import app  # noqa: PLC0415 - only ticks need it
        from sweephand.adapters.running_jobs import running  # noqa: PLC0415 - likewise

        app.stop_ticks()
        now = time.monotonic()
        jobs = [{"id": job.id, "token": job.token, "type": job.type, "s": job.until - now} for job in running()]
        write_private(Path(functions.jobs_file), json.dumps(jobs))
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, wind_up)


def main() -> None:
    """Serve what FUNCTION_SERVER says until SIGTERM."""
    # No types; imported here because only this process needs it.
    from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # noqa: PLC0415

    functions = Functions(**json.loads(os.environ.pop("FUNCTION_SERVER")))

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in options(functions).items():
                if name in self.cfg.settings:  # a few came late: older versions know them not
                    self.cfg.set(name, value)

        def load(self) -> "WSGIApplication":
            return load(functions)

    Server().run()


if __name__ == "__main__":
    main()
