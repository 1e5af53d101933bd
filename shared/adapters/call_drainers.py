"""The `Drainers` port: on AWS Lambda, over HTTP (Google Cloud), and as processes of this machine.

Each call is made once. A call that fails is logged and left: the next scheduled tick sees the backlog that is left.
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
EVENT = {"drainer": True}
"""What a drainer is called with; it tells the tick function to call no others."""
IDENTITY = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity"
"""Where a Google function gets an OIDC token for an audience (cloud.google.com/run/docs/authenticating)."""


def open_drainers(url: str, process: Sequence[str], env: Mapping[str, str]) -> Drainers:
    """Return what `url` (DRAINERS_URL) names.

    `lambda:NAME` invokes that function asynchronously; `https://…` posts to the tick function's own URL with this
    instance's OIDC identity, `http://…` without; `process:` starts `process` in the environment `env`.
    Raises `ConfigError` for any other.
    """
    scheme = urlsplit(url).scheme
    if scheme == "lambda":
        return LambdaDrainers(url.partition(":")[2])
    if scheme in ("http", "https"):
        return HttpDrainers(url, identity_token if scheme == "https" else None)
    if scheme == "process":
        return ProcessDrainers(process, env)
    raise ConfigError(f"DRAINERS_URL must be lambda:NAME, https://…, http://… or process:, not {url!r}.")


class LambdaDrainers:
    """Invokes a Lambda function asynchronously: Lambda answers 202 and runs it by itself."""

    def __init__(self, function: str) -> None:
        self._function = function

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
                    FunctionName=self._function, InvocationType="Event", Payload=json.dumps(EVENT).encode()
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

    def __init__(self, url: str, token: Callable[[str], str] | None) -> None:
        self._url, self._token = url, token

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
            answer = httpx.post(self._url, json=EVENT, headers=headers, timeout=timeout)
            if not answer.is_success:
                log.warning("a drainer could not be called: status %d", answer.status_code)
        except httpx.HTTPError as e:
            log.warning("a drainer could not be called: %s", type(e).__name__)

    def close(self) -> None:
        """See the port: they run on their own."""


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
    answer = httpx.get(IDENTITY, params={"audience": audience}, headers={"Metadata-Flavor": "Google"}, timeout=2)
    answer.raise_for_status()
    return answer.text.strip()
