"""The `TickTrigger` port: AWS Lambda, Google Cloud Scheduler, HTTP, and processes of this machine.

Each request is made once. A failure is logged and no more: the next scheduled tick runs the jobs.
"""

import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from sweephand.adapters.google_identity import access_token, identity_token
from sweephand.adapters.sign_aws import signed
from sweephand.domain.errors import ConfigError
from sweephand.ports.tick_trigger import TickTrigger

log = logging.getLogger("sweephand")
Event = Mapping[str, bool]
"""The body that a tick is called with. Neither of the two below may call drainers."""
TRIGGERED: Event = {"triggered": True}
"""A tick for a new job: it lingers as the schedule's does."""
DRAINER: Event = {"drainer": True}
"""A tick that helps another: it does not linger."""
CLOUD_SCHEDULER = "https://cloudscheduler.googleapis.com/v1"
CREATE_TIMEOUT = 3.0
"""Seconds for a platform to take a request while a client waits for its new job."""
DRAINER_TIMEOUT = 5.0
"""Seconds for a platform to take a request of a tick."""
CONNECT_TIMEOUT = 5.0
"""Seconds to reach a tick over HTTP; the answer takes as long as the tick."""
SHORTEST = 4.0
"""Seconds that must be left to start a process: it takes one or two to begin, and keeps two for settling."""


def open_trigger(url: str) -> TickTrigger:
    """Return what starts a tick for a new job, as WAKE_URL says.

    `lambda:NAME` invokes that function asynchronously; `scheduler:projects/…/locations/…/jobs/…` has Cloud
    Scheduler run that job; `http://…` posts to a tick server of this machine. Raises `ConfigError` for any other.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "lambda":
        return LambdaTrigger(rest, TRIGGERED, CREATE_TIMEOUT)
    if scheme == "scheduler":
        return SchedulerTrigger(f"{CLOUD_SCHEDULER}/{rest}:run")
    if scheme == "http":
        return HttpTrigger(url, TRIGGERED)
    raise ConfigError(f"WAKE_URL must be lambda:NAME, scheduler:projects/… or http://…, not {url!r}.")


def open_drainers(url: str, process: Sequence[str], env: Mapping[str, str]) -> TickTrigger:
    """Return what starts drainers, as DRAINERS_URL says.

    `lambda:NAME` invokes that function asynchronously; `https://…` posts to the tick function's own URL with this
    instance's OIDC identity, `http://…` without; `process:` starts `process` in the environment `env`.
    Raises `ConfigError` for any other.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "lambda":
        return LambdaTrigger(rest, DRAINER, DRAINER_TIMEOUT)
    if scheme in ("http", "https"):
        return HttpTrigger(url, DRAINER, identity_token if scheme == "https" else None)
    if scheme == "process":
        return ProcessTrigger(process, env)
    raise ConfigError(f"DRAINERS_URL must be lambda:NAME, https://…, http://… or process:, not {url!r}.")


class _Independent:
    """Ticks that do not end with this process: there is nothing to stop, and nothing to wait for."""

    def stop(self) -> None:
        """See the port."""

    def close(self) -> None:
        """See the port."""


class LambdaTrigger(_Independent):
    """Invokes a Lambda function asynchronously: Lambda answers 202, then runs the function by itself.

    Takes the credentials and the region from the environment, as Lambda sets them.
    """

    def __init__(self, function: str, event: Event, timeout: float) -> None:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
        self._url = f"{_endpoint(region)}/2015-03-31/functions/{quote(function, safe='')}/invocations"
        self._region, self._body, self._timeout = region, json.dumps(event).encode(), timeout

    def now(self, count: int = 1, left: float = 0.0) -> int:  # noqa: ARG002 - these ticks have a budget of their own
        """See the port. Ends at the first refusal: the other requests would meet the same."""
        taken = 0
        try:
            with httpx.Client(timeout=self._timeout) as client:
                for _ in range(count):
                    self._invoke(client)
                    taken += 1
        except httpx.HTTPError as e:
            _log_failure(e)
        return taken

    def _invoke(self, client: httpx.Client) -> None:
        named = {"X-Amz-Invocation-Type": "Event"}
        headers = signed(self._url, named, self._body, self._region, datetime.now(UTC))
        client.post(self._url, content=self._body, headers=headers).raise_for_status()


def _endpoint(region: str) -> str:
    named = os.environ.get("AWS_ENDPOINT_URL_LAMBDA") or os.environ.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return named.rstrip("/") if named else f"https://lambda.{region}.{suffix}"


class SchedulerTrigger(_Independent):
    """Has Cloud Scheduler run the schedule's job now: it answers at once, then calls the tick itself."""

    def __init__(self, url: str) -> None:
        self._url = url

    def now(self, count: int = 1, left: float = 0.0) -> int:  # noqa: ARG002 - see below
        """See the port. However many are asked for, one starts: Cloud Scheduler runs a job once at a time."""
        try:
            headers = {"Authorization": f"Bearer {access_token()}"}
            httpx.post(self._url, json={}, headers=headers, timeout=CREATE_TIMEOUT).raise_for_status()
        except httpx.HTTPError as e:
            _log_failure(e)
            return 0
        return 1


class HttpTrigger(_Independent):
    """Posts to the URL of a tick. A request lasts as long as its tick, so a thread of its own waits for it."""

    def __init__(self, url: str, event: Event, token: Callable[[str], str] | None = None) -> None:
        """`token` makes the identity to call the URL with; without it there is none."""
        self._url, self._event, self._token = url, event, token

    def now(self, count: int = 1, left: float = 0.0) -> int:  # noqa: ARG002 - these ticks have a budget of their own
        """See the port."""
        try:
            headers = {"Authorization": f"Bearer {self._token(self._url)}"} if self._token else {}
        except httpx.HTTPError as e:
            _log_failure(e)
            return 0
        for _ in range(count):
            threading.Thread(target=self._post, args=(headers,), name="sweephand-trigger", daemon=True).start()
        return count

    def _post(self, headers: Mapping[str, str]) -> None:
        try:
            timeout = httpx.Timeout(None, connect=CONNECT_TIMEOUT)
            httpx.post(self._url, json=self._event, headers=headers, timeout=timeout).raise_for_status()
        except httpx.HTTPError as e:
            _log_failure(e)


class ProcessTrigger:
    """Starts drainers as child processes, which end with this process: each is told how long it may work."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._command, self._env = command, env
        self._running: list[subprocess.Popen[Any]] = []
        self._until = 0.0

    def now(self, count: int = 1, left: float = 0.0) -> int:
        """See the port."""
        self._until = time.monotonic() + left
        if left < SHORTEST:
            return 0
        command = [*self._command, "--budget", f"{left:.1f}"]
        started = 0
        for _ in range(count):
            try:
                process = subprocess.Popen(command, env=self._env, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
            except OSError as e:
                log.warning("could not start a drainer; the next scheduled tick runs the jobs: %s", e)
            else:
                self._running.append(process)
                started += 1
        return started

    def stop(self) -> None:
        """See the port. A process that has not begun yet holds nothing, and ends at once."""
        for process in list(self._running):
            process.terminate()

    def close(self) -> None:
        """See the port. A process that began late is told to end: it settles its jobs and releases the rest."""
        for process in self._running:
            try:
                process.wait(max(0.0, self._until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.terminate()
        for process in self._running:
            process.wait()
        self._running.clear()


def _log_failure(error: httpx.HTTPError) -> None:
    status = f" {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else ""
    reason = f"{type(error).__name__}{status}"
    log.warning("could not start a tick; the next scheduled tick runs the jobs: %s", reason)
