"""A test double of AWS Lambda: its Runtime API over HTTP, and functions that AWS's own client serves from it.

The API: "Using the Lambda runtime API for custom runtimes", AWS Lambda Developer Guide.
"""

import base64
import importlib.metadata
import json
import queue
import shutil
import subprocess
import threading
import time
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""AWS's runtime client and what it needs."""
PREFIX = "/2018-06-01/runtime"
NAME = "sweephand-test"
PATIENCE = 60.0
"""Seconds that a test waits for an answer before it fails."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What Lambda provides beside the archive: an interpreter with nothing installed, and the runtime client."""

    python: Path
    runtime: Path

    @classmethod
    def make(cls, folder: Path) -> "Machine":
        """Make one below `folder`, of this interpreter."""
        venv.create(folder / "python", symlinks=True, with_pip=False)
        runtime = folder / "runtime"
        for name in CLIENT:
            distribution = importlib.metadata.distribution(name)
            for file in distribution.files or []:
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    (runtime / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(str(distribution.locate_file(file)), runtime / file)
        subprocess.run([folder / "python/bin/python", "-m", "compileall", "-q", runtime], check=True)
        return cls(folder / "python/bin/python", runtime)


def unzip(file: Path, folder: Path) -> Path:
    """Unpack an archive as Lambda does, and return the folder."""
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    return folder


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function's process said to one event."""

    body: Any
    error: bool
    """Whether it was an error, or the process ended without an answer."""
    seconds: float
    """Since the event was handed in; for the first one, since the process was started."""


@dataclass(slots=True)
class _Event:
    body: bytes
    deadline_ms: int
    began: float
    answered: "queue.SimpleQueue[Answer]" = field(default_factory=queue.SimpleQueue)


class Function:
    """One function's execution environment. A context manager; `invoke` starts the process when there is none."""

    def __init__(self, machine: Machine, task: Path, handler: str, env: Mapping[str, str], log: Path) -> None:
        self._machine, self._task, self._handler, self._env, self.log = machine, task, handler, env, log
        self._events: queue.SimpleQueue[_Event | None] = queue.SimpleQueue()
        self._asked: dict[str, _Event] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._server = _Server(("127.0.0.1", 0), _handler_for(self))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()
        self._server.shutdown()
        self._server.server_close()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @cached_property
    def address(self) -> str:
        """Where the Runtime API listens."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def invoke(self, event: object, *, remaining: float = 30.0) -> Answer:
        """Hand in an event, with `remaining` seconds until the time limit; return the answer to it."""
        began = time.monotonic()
        # Cut, as the runtime client cuts the time of day: rounded up, a fast start saw a millisecond too many.
        asked = _Event(json.dumps(event).encode(), int((time.time() + remaining) * 1000), began)
        self._events.put(asked)
        if not self.running:
            self._start()
        while True:
            try:
                return asked.answered.get(timeout=0.05)
            except queue.Empty:
                if not self.running:
                    return self._ended(asked)
                if time.monotonic() - began > PATIENCE:
                    raise AssertionError(f"no answer from {self._handler}:\n{self.log.read_text()}") from None

    def end(self) -> None:
        """End the process, as Lambda does with an environment that it no longer needs."""
        self._events.put(None)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._events = queue.SimpleQueue()

    def printed(self) -> list[dict[str, Any]]:
        """Return the JSON objects among the lines of the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def _ended(self, asked: _Event) -> Answer:
        """Return the answer that came just before the process ended, or one that says so."""
        try:
            return asked.answered.get(timeout=0.2)
        except queue.Empty:
            assert self._process is not None
            body = {"errorType": "Runtime.ExitError", "status": self._process.returncode}
            return Answer(body, error=True, seconds=time.monotonic() - asked.began)

    def _start(self) -> None:
        env = {
            "PATH": "/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": str(self._machine.runtime),
            "PYTHONDONTWRITEBYTECODE": "1",  # Lambda's task folder is read-only
            "AWS_LAMBDA_RUNTIME_API": self.address,
            "AWS_LAMBDA_FUNCTION_NAME": NAME,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_REGION": "eu-west-1",
            "LAMBDA_TASK_ROOT": str(self._task),
            "_HANDLER": self._handler,
            **self._env,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._machine.python, "-m", "awslambdaric", self._handler],
                cwd=self._task,
                env=env,
                stdout=log,
                stderr=log,
            )

    def next_event(self) -> tuple[str, _Event] | None:
        """Return the next event with its id, None when there will be none."""
        event = self._events.get()
        if event is None:
            return None
        request_id = f"request-{len(self._asked)}"
        self._asked[request_id] = event
        return request_id, event

    def answered(self, request_id: str, body: bytes, *, error: bool) -> None:
        """Take the answer to an event."""
        event = self._asked[request_id]
        event.answered.put(Answer(json.loads(body), error, time.monotonic() - event.began))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: object) -> None:
        """Say nothing of a function that went away."""


def _handler_for(function: Function) -> type[BaseHTTPRequestHandler]:
    class RuntimeApi(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else a body waits 40 ms for the client to acknowledge its headers.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            asked = function.next_event() if self.path == f"{PREFIX}/invocation/next" else None
            if asked is None:
                self.close_connection = True
                return
            request_id, event = asked
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
            self.send_header("Lambda-Runtime-Deadline-Ms", str(event.deadline_ms))
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", f"arn:aws:lambda:eu-west-1:0:function:{NAME}")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(event.body)))
            self.end_headers()
            self.wfile.write(event.body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            *_, request_id, kind = self.path.split("/")
            if kind in ("response", "error") and request_id != "init":
                function.answered(request_id, body, error=kind == "error")
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Keep quiet."""

    return RuntimeApi


def http_event(  # noqa: PLR0913 - each is one part of a request, by name
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    query: str = "",
    route: str = "$default",
) -> dict[str, Any]:
    """Return a request as an HTTP API hands it over (payload format 2.0); a body goes in base64."""
    several: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        several.setdefault(name, []).append(value)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": urlencode(parse_qsl(query, keep_blank_values=True)),
        "headers": {"host": "api.test", **{name.lower(): value for name, value in (headers or {}).items()}},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "api",
            "domainName": "api.test",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "test",
            },
            "requestId": "id",
            "routeKey": route,
            "stage": "$default",
            "timeEpoch": 1700000000000,
        },
        "isBase64Encoded": body is not None,
    }
    if several:
        event["queryStringParameters"] = {name: ",".join(values) for name, values in several.items()}
    if body is not None:
        event["body"] = base64.b64encode(body).decode()
        event["headers"]["content-length"] = str(len(body))
    return event


def schedule_event() -> dict[str, Any]:
    """Return what an EventBridge rule with a schedule hands over."""
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": "2026-11-24T05:00:00Z",
        "region": "eu-west-1",
        "resources": ["arn:aws:events:eu-west-1:000000000000:rule/tick"],
        "detail": {},
    }
