"""Calls a function again and again, as Cloud Scheduler and EventBridge do."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any

COUNTS = ("started", "completed", "retried", "failed", "skipped", "returned", "expired_leases")
"""The report's counts of which any above zero makes a tick worth a line."""
MOST = 4
"""Calls under way at once: one more is left out, as a cloud's concurrency limit would."""
ANSWER_LIMIT = 300.0
"""Seconds after which an answer is no longer waited for."""


class Scheduler:
    """Posts to `port` every `seconds`, without waiting for the call before: ticks may overlap.

    The budget of a tick does not shrink with `seconds`, as no handler whose time limit exceeds it may start.
    """

    def __init__(self, port: int, seconds: float, say: Callable[[str], None]) -> None:
        self._port = port
        self._seconds = seconds
        self._say = say
        self._next = time.monotonic()
        self._calls: list[threading.Thread] = []
        self._full = False

    def poll(self) -> None:
        """Call if it is time. Calls that were missed, as in a laptop's sleep, are not made up for."""
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

    def _call(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_LIMIT)
        try:
            connection.request("POST", "/", headers={"User-Agent": "Google-Cloud-Scheduler"})
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


def describe(status: int, body: bytes) -> str | None:
    """Return a line for a tick's answer, None for a tick that found nothing to do."""
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
