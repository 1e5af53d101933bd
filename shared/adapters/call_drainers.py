"""The `Drainers` port: on AWS Lambda, over HTTP (Google Cloud), and as processes of this machine.

Each call is made once. A call that fails is logged and left: the next scheduled tick sees the backlog that is left.
What creates a job wakes a tick in the same ways, with the event of the schedule; on Google by the schedule itself.
"""

import json
import logging
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from shared.domain.errors import ConfigError
from shared.ports.drainers import Drainers

log = logging.getLogger("minutehand")
DRAINER = {"drainer": True}
"""What a drainer is called with; it tells the tick function to call no others."""
CLOUD_SCHEDULER = "https://cloudscheduler.googleapis.com/v1"
METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default"
"""Where a Google function gets tokens of its own identity (cloud.google.com/run/docs/authenticating)."""


def open_drainers(url: str, process: Sequence[str], env: Mapping[str, str]) -> Drainers:
    """Return what `url` (DRAINERS_URL) names.

    `lambda:NAME` invokes that function asynchronously; `https://…` posts to the tick function's own URL with this
    instance's OIDC identity, `http://…` without; `process:` starts `process` in the environment `env`.
    Raises `ConfigError` for any other.
    """
    scheme = urlsplit(url).scheme
    if scheme == "lambda":
        return LambdaDrainers(url.partition(":")[2], DRAINER)
    if scheme in ("http", "https"):
        return HttpDrainers(url, identity_token if scheme == "https" else None, DRAINER)
    if scheme == "process":
        return ProcessDrainers(process, env)
    raise ConfigError(f"DRAINERS_URL must be lambda:NAME, https://…, http://… or process:, not {url!r}.")


def open_waker(url: str) -> Drainers:
    """Return what `url` (WAKE_URL) names: a tick as the schedule would start it, now.

    `lambda:NAME` invokes that function asynchronously; `scheduler:projects/…/locations/…/jobs/…` has Cloud
    Scheduler run that job; `http://…` posts to a tick server of this machine. Raises `ConfigError` for any other.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "lambda":
        return LambdaDrainers(rest, {})
    if scheme == "scheduler":
        return ScheduledJob(f"{CLOUD_SCHEDULER}/{rest}:run", access_token)
    if scheme == "http":
        return HttpDrainers(url, None, {})
    raise ConfigError(f"WAKE_URL must be lambda:NAME, scheduler:projects/… or http://…, not {url!r}.")


class LambdaDrainers:
    """Invokes a Lambda function asynchronously: Lambda answers 202 and runs it by itself."""

    def __init__(self, function: str, event: Mapping[str, bool]) -> None:
        self._function, self._event = function, event

    def call(self, count: int) -> int:
        """See the port."""
        import boto3  # noqa: PLC0415 - Lambda ships it; slow to import, and needed under a backlog alone
        from botocore.config import Config  # noqa: PLC0415 - likewise
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - likewise

        once = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5)
        client = boto3.client("lambda", config=once)
        taken = 0
        for _ in range(count):
            try:
                client.invoke(
                    FunctionName=self._function, InvocationType="Event", Payload=json.dumps(self._event).encode()
                )
                taken += 1
            except (BotoCoreError, ClientError) as e:
                log.warning("a drainer could not be called: %s", type(e).__name__)
        client.close()
        return taken

    def close(self) -> None:
        """See the port: they run on their own."""


class HttpDrainers:
    """Posts to the tick function's URL. A request lasts as long as its drainer, on a thread that waits for it."""

    def __init__(self, url: str, token: Callable[[str], str] | None, event: Mapping[str, bool]) -> None:
        self._url, self._token, self._event = url, token, event

    def call(self, count: int) -> int:
        """See the port."""
        try:
            headers = {"Authorization": f"Bearer {self._token(self._url)}"} if self._token else {}
        except httpx.HTTPError as e:
            log.warning("no identity to call drainers with: %s", type(e).__name__)
            return 0
        for _ in range(count):
            threading.Thread(target=self._post, args=(headers,), name="minutehand-drainer", daemon=True).start()
        return count

    def _post(self, headers: Mapping[str, str]) -> None:
        try:
            timeout = httpx.Timeout(None, connect=5)
            answer = httpx.post(self._url, json=self._event, headers=headers, timeout=timeout)
            if not answer.is_success:
                log.warning("a drainer could not be called: status %d", answer.status_code)
        except httpx.HTTPError as e:
            log.warning("a drainer could not be called: %s", type(e).__name__)

    def close(self) -> None:
        """See the port: they run on their own."""


class ScheduledJob:
    """Has Cloud Scheduler run a job now: it answers at once, and calls the tick with the identity that may."""

    def __init__(self, url: str, token: Callable[[], str]) -> None:
        self._url, self._token = url, token

    def call(self, _count: int) -> int:
        """See the port: one is all that it can start."""
        try:
            headers = {"Authorization": f"Bearer {self._token()}"}
            answer = httpx.post(self._url, json={}, headers=headers, timeout=5)
            answer.raise_for_status()
        except httpx.HTTPError as e:
            log.warning("the schedule's job could not be run: %s", type(e).__name__)
            return 0
        return 1

    def close(self) -> None:
        """See the port: it runs on its own."""


class ProcessDrainers:
    """Starts processes, and waits for them at the end: they are this process's children."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._command, self._env = command, env
        self._running: list[subprocess.Popen[Any]] = []

    def call(self, count: int) -> int:
        """See the port."""
        for _ in range(count):
            try:
                self._running.append(
                    subprocess.Popen(self._command, env=self._env, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
                )
            except OSError as e:
                log.warning("a drainer could not be started: %s", e)
        return len(self._running)

    def close(self) -> None:
        """See the port."""
        for process in self._running:
            process.wait()
        self._running.clear()


def identity_token(audience: str) -> str:
    """Return this instance's OIDC token for `audience`; raises `httpx.HTTPError` where there is no such server."""
    return _metadata("identity", audience=audience).text.strip()


def access_token() -> str:
    """Return this instance's token for Google's own APIs; raises as `identity_token` does."""
    return str(_metadata("token").json()["access_token"])


def _metadata(what: str, **params: str) -> httpx.Response:
    answer = httpx.get(f"{METADATA}/{what}", params=params, headers={"Metadata-Flavor": "Google"}, timeout=2)
    answer.raise_for_status()
    return answer
