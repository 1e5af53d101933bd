"""The `Waker` port: on AWS Lambda, by Cloud Scheduler, and over HTTP on one machine."""

import logging
import threading

import httpx

from sweephand.adapters import invoke_lambda
from sweephand.adapters.google_identity import access_token
from sweephand.domain.errors import ConfigError
from sweephand.ports.waker import Waker

log = logging.getLogger("sweephand")
EVENT = {"triggered": True}
"""What a triggered tick is called with; it tells the tick function to call no others."""
CLOUD_SCHEDULER = "https://cloudscheduler.googleapis.com/v1"
TIMEOUT = 3.0
"""Seconds: who creates the job is waiting."""


def open_waker(url: str) -> Waker:
    """Return what `url` (WAKE_URL) names.

    `lambda:NAME` invokes that function asynchronously; `scheduler:projects/…/locations/…/jobs/…` has Cloud
    Scheduler run that job; `http://…` posts to a tick server of this machine. Raises `ConfigError` for any other.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "lambda":
        return LambdaWaker(rest)
    if scheme == "scheduler":
        return ScheduledJob(f"{CLOUD_SCHEDULER}/{rest}:run")
    if scheme == "http":
        return HttpWaker(url)
    raise ConfigError(f"WAKE_URL must be lambda:NAME, scheduler:projects/… or http://…, not {url!r}.")


class LambdaWaker:
    """Invokes a Lambda function asynchronously: Lambda answers 202 and runs it by itself."""

    def __init__(self, function: str) -> None:
        self._function = function

    def wake(self) -> None:
        """See the port."""
        try:
            invoke_lambda.invoke(self._function, EVENT, timeout=TIMEOUT)
        except httpx.HTTPError as e:
            _told(e)


class ScheduledJob:
    """Has Cloud Scheduler run the schedule's job now: it answers at once, and calls with the identity that may."""

    def __init__(self, url: str) -> None:
        self._url = url

    def wake(self) -> None:
        """See the port."""
        try:
            headers = {"Authorization": f"Bearer {access_token()}"}
            httpx.post(self._url, json={}, headers=headers, timeout=TIMEOUT).raise_for_status()
        except httpx.HTTPError as e:
            _told(e)


class HttpWaker:
    """Posts to a tick server's URL. The request lasts as long as the tick, on a thread that waits for it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def wake(self) -> None:
        """See the port."""
        threading.Thread(target=self._post, name="sweephand-wake", daemon=True).start()

    def _post(self) -> None:
        try:
            httpx.post(self._url, json=EVENT, timeout=httpx.Timeout(None, connect=5)).raise_for_status()
        except httpx.HTTPError as e:
            _told(e)


def _told(error: httpx.HTTPError) -> None:
    log.warning("no tick could be called, the schedule's will come: %s", type(error).__name__)
