"""Calls the tick server on a schedule, and when a new job triggers a tick, as the clouds' schedulers do."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

COUNTS = ("started", "completed", "retried", "failed", "skipped", "released", "expired_leases")
"""Counts of a tick's report. A tick with one of them above zero gets a line."""
MOST = 4
"""Calls under way at once. Above that a call is left out, as by a cloud's concurrency limit."""
TRIGGERED = b'{"triggered": true}'
"""The body that tells a tick that a new job triggered it, not the schedule."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ANSWER_LIMIT = 300.0
"""Seconds that a call waits for its answer."""


class Scheduler:
    """Posts to `port` every `seconds`. It does not wait for the call before: ticks may overlap.

    A tick's budget does not shrink with `seconds`: a handler whose time limit exceeds the budget could never start.
    """

    def __init__(self, port: int, seconds: float, say: Callable[[str], None]) -> None:
        self._port = port
        self._seconds = seconds
        self._say = say
        self._next = time.monotonic()
        self._calls: list[threading.Thread] = []
        self._full = False

    def poll(self) -> None:
        """Call if it is time. Missed calls, as during a laptop's sleep, are not repeated."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = max(self._next + self._seconds, now)
        self._calls = [call for call in self._calls if call.is_alive()]
        if len(self._calls) >= MOST:
            if not self._full:
                self._say(f"no further ticks while {MOST} are under way")
            self._full = True
            return
        self._full = False
        call = threading.Thread(target=self._call, daemon=True)
        call.start()
        self._calls.append(call)

    def run_now(self) -> None:
        """Call at once, beside the schedule, as Cloud Scheduler does when it is asked to run a job."""
        threading.Thread(target=self._call, args=(TRIGGERED,), daemon=True).start()

    def _call(self, event: bytes = b"") -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_LIMIT)
        try:
            headers = {"User-Agent": "Google-Cloud-Scheduler", "Content-Type": "application/json"}
            connection.request("POST", "/", event, headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, HTTPException) as error:
            self._say(f"tick got no answer: {error or type(error).__name__}")
        else:
            line = describe(response.status, body)
            if line:
                self._say(line)
        finally:
            connection.close()


class TriggerServer:
    """The server behind WAKE_URL: each POST has the scheduler call the tick server now."""

    def __init__(self, scheduler: Scheduler) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5
            """Seconds for the whole request to arrive."""

            def do_POST(self) -> None:
                # Neither a page of another site, nor a page whose host name points to our address, triggers a tick.
                name = (self.headers.get("Host") or "").rpartition(":")[0]
                if "Origin" in self.headers or "Sec-Fetch-Site" in self.headers or name not in LOOPBACK:
                    self.send_response(HTTPStatus.FORBIDDEN)
                else:
                    scheduler.run_now()
                    self.send_response(HTTPStatus.OK)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Serve."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def describe(status: int, body: bytes) -> str | None:
    """Return a line about a tick's answer, None for a tick that found nothing to do."""
    try:
        report = json.loads(body)
    except ValueError:
        report = None
    if not isinstance(report, dict) or status >= 400:  # noqa: PLR2004 - HTTP's errors
        return f"tick answered {status}: {body[:200].decode(errors='replace').strip()}"
    return _line(report)


def _line(report: Mapping[str, Any]) -> str | None:
    counts = [f"{report[name]} {name.replace('_', ' ')}" for name in COUNTS if report.get(name)]
    if not counts:
        return None
    took = f" in {report['duration_ms'] / 1000:.1f} s" if "duration_ms" in report else ""
    stopped = f" ({report['stopped']})" if "stopped" in report else ""
    return f"tick: {', '.join(counts)}{took}{stopped}"
