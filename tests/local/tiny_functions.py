"""Functions that tell what they were asked: what `main.py` exports, for tests of the local emulation."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flask
from flask.typing import ResponseReturnValue

from functions import NAMES


def _echo(name: str, request: flask.Request) -> dict[str, Any]:
    return {
        "function": name,
        "path": request.path,
        "query": request.query_string.decode(),
        "bytes": len(request.get_data()),
        "env": {key: os.environ.get(key) for key in ("SUPABASE_URL", "REDIS_URL", "SWEEPHAND_API_KEYS")},
    }


def create_job(request: flask.Request) -> ResponseReturnValue:
    """Answer 413 over 256 KiB, else the echo."""
    if len(request.get_data()) > 256 * 1024:
        return {"status": 413}, 413
    return _echo("create_job", request), 201


def list_jobs(request: flask.Request) -> ResponseReturnValue:
    """Touch the file `arrived`, if any, and answer after `sleep` milliseconds, by a thread that starts then."""
    with ThreadPoolExecutor(1) as pool:
        if arrived := request.args.get("arrived"):
            Path(arrived).touch()
        time.sleep(float(request.args.get("sleep", 0)) / 1000)
        pool.submit(int).result()  # refused where the process has begun to end
    return _echo("list_jobs", request)


def __getattr__(name: str) -> Callable[[flask.Request], ResponseReturnValue]:
    """Return what answers the echo, for each other function that has a route."""
    if name not in NAMES:
        raise AttributeError(name)
    return lambda request: _echo(name, request)


def not_found(request: flask.Request) -> ResponseReturnValue:
    """Answer the echo as 404."""
    return _echo("not_found", request), 404


def tick(_request: flask.Request) -> ResponseReturnValue:
    """Report one completed job, but retire the process at the third call."""
    _ticks.append(time.time())
    if len(_ticks) == RETIRES_AT:
        threading.Timer(0.2, os._exit, (0,)).start()
    return {
        "started": 1,
        "completed": 1,
        "failed": 0,
        "stopped": "drained",
        "duration_ms": 7,
    }


RETIRES_AT = 3
_ticks: list[float] = []
