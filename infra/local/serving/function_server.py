"""Serves functions over HTTP: gunicorn with one worker of several threads, in a process of its own.

`python -m infra.local.serving.function_server` is that process; its settings come as JSON in FUNCTION_SERVER.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from sweephand.layout import INSIDE, MAIN, ROOT
from sweephand.settings import without_proxies

from ..services.data_folder import write_private
from ..services.service import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

ARRIVING = 256
"""Requests that may arrive at once; each has the worker's ARRIVAL seconds for that."""


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions that a server serves, and how."""

    source: str
    """The file that exports the functions, as `main.py` does."""
    routes: str = ""
    """Path of a `serverless.yml`: each of its functions is served behind its routes."""
    function: str = ""
    """In place of `routes`: the one function that answers every path, as where a cloud's trigger calls it."""
    threads: int = 8
    """Requests answered at once."""
    grace: int = 3
    """Seconds that a stopped server has to finish its requests."""
    port: int = 0
    jobs_file: str = ""
    """The file into which a stopped tick server writes the jobs that it waits for, as JSON."""
    ready_file: str = ""
    """The file that the server touches once the functions are loaded; it listens earlier."""


class FunctionServer(Service):
    """The process that serves functions."""

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
        """Remove the files that an earlier run left."""
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
        """Load the functions again. Requests under way, ticks too, end in the old process."""
        self.signal(signal.SIGHUP)

    def jobs(self) -> list[dict[str, Any]] | None:
        """Return the jobs that a stopped server waits for: `id`, `token`, `type`, and `s`, the seconds they have.

        Returns None until the server has written them.
        """
        try:
            jobs: list[dict[str, Any]] = json.loads(self._jobs.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return jobs


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
    # The process that only starts the server does without functions-framework.
    from sweephand import app  # noqa: PLC0415
    from sweephand.adapters import label_output  # noqa: PLC0415
    from sweephand.domain.errors import ConfigError  # noqa: PLC0415

    from . import request_limits, route_gateway, serverless_yml  # noqa: PLC0415

    if functions.function:
        label_output.install()
    if Path(functions.source) == MAIN:
        # Now, not at the first request: by then somebody may be changing a handler's file.
        with suppress(ConfigError):  # each request answers with this error
            app.handlers()
    if functions.function:
        alone = route_gateway.application(functions.function, Path(functions.source))
        return request_limits.RequestLimits(alone, functions.threads, scheduled=True)
    return request_limits.RequestLimits(
        route_gateway.gateway(serverless_yml.read(Path(functions.routes)), Path(functions.source)),
        functions.threads,
    )


def options(functions: Functions) -> dict[str, object]:
    """Return gunicorn's settings."""
    return {
        "bind": f"127.0.0.1:{functions.port}",
        "worker_class": f"{__package__}.gunicorn_worker.DeadlineWorker",
        "workers": 1,
        # Most threads wait for a request to arrive: RequestLimits passes on `functions.threads` requests at once.
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
    """Touch the ready file; from now on SIGTERM has running ticks start nothing more."""
    Path(functions.ready_file).touch()
    if not functions.function:
        return
    before = signal.getsignal(signal.SIGTERM)

    def wind_up(number: int, frame: FrameType | None) -> None:
        from sweephand import app  # noqa: PLC0415 - only ticks need it

        app.stop_ticks()
        jobs = [{"id": each.claim.id, "token": each.token, "type": each.type, "s": s} for each, s in app.running()]
        write_private(Path(functions.jobs_file), json.dumps(jobs))
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, wind_up)


def main() -> None:
    """Serve the functions that FUNCTION_SERVER names until SIGTERM."""
    # Imported here because only this process needs it.
    from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # noqa: PLC0415

    functions = Functions(**json.loads(os.environ.pop("FUNCTION_SERVER")))

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            for name, value in options(functions).items():
                if name in self.cfg.settings:  # older versions of gunicorn lack some of them
                    self.cfg.set(name, value)

        def load(self) -> "WSGIApplication":
            return load(functions)

    Server().run()


if __name__ == "__main__":
    main()
