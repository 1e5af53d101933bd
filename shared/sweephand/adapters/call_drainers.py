"""The `Drainers` port: on AWS Lambda, over HTTP (Google Cloud), and as processes of this machine.

Each call is made once. A call that fails is logged and left: the next scheduled tick sees the backlog that is left.
"""

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from sweephand.adapters import invoke_lambda
from sweephand.adapters.google_identity import identity_token
from sweephand.domain.errors import ConfigError
from sweephand.ports.drainers import Drainers

log = logging.getLogger("sweephand")
EVENT = {"drainer": True}
"""What a drainer is called with; it tells the tick function to call no others."""
TIMEOUT = 5.0
"""Seconds for Lambda to take a call."""
SHORTEST = 4.0
"""Seconds that must be left for a process to be started: it begins in one or two and keeps two for settling."""


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

    def call(self, count: int, left: float) -> int:  # noqa: ARG002 - they have a budget of their own
        """See the port."""
        taken = 0
        try:
            with httpx.Client() as client:
                for _ in range(count):
                    invoke_lambda.invoke(self._function, EVENT, timeout=TIMEOUT, client=client)
                    taken += 1
        except httpx.HTTPError as e:  # the others would meet the same, and the tick waits for all at its end
            log.warning("a drainer could not be called: %s", type(e).__name__)
        return taken

    def stop(self) -> None:
        """See the port: they run on their own."""

    def close(self) -> None:
        """See the port: they run on their own."""


class HttpDrainers:
    """Posts to the tick function's URL. A request lasts as long as its drainer, on a thread that waits for it."""

    def __init__(self, url: str, token: Callable[[str], str] | None) -> None:
        self._url, self._token = url, token

    def call(self, count: int, left: float) -> int:  # noqa: ARG002 - they have a budget of their own
        """See the port."""
        try:
            headers = {"Authorization": f"Bearer {self._token(self._url)}"} if self._token else {}
        except httpx.HTTPError as e:
            log.warning("no identity to call drainers with: %s", type(e).__name__)
            return 0
        for _ in range(count):
            threading.Thread(target=self._post, args=(headers,), name="sweephand-drainer", daemon=True).start()
        return count

    def _post(self, headers: Mapping[str, str]) -> None:
        try:
            timeout = httpx.Timeout(None, connect=5)
            answer = httpx.post(self._url, json=EVENT, headers=headers, timeout=timeout)
            if not answer.is_success:
                log.warning("a drainer could not be called: status %d", answer.status_code)
        except httpx.HTTPError as e:
            log.warning("a drainer could not be called: %s", type(e).__name__)

    def stop(self) -> None:
        """See the port: they run on their own."""

    def close(self) -> None:
        """See the port: they run on their own."""


class ProcessDrainers:
    """Starts processes, and waits for them at the end: they are this process's children, and live no longer.

    Each is told in its command how long it may work. One that took long to begin is told when that is over.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._command, self._env = command, env
        self._running: list[subprocess.Popen[Any]] = []
        self._until = 0.0

    def call(self, count: int, left: float) -> int:
        """See the port."""
        self._until = time.monotonic() + left
        if left < SHORTEST:
            return 0
        command = [*self._command, "--budget", f"{left:.1f}"]
        for _ in range(count):
            try:
                self._running.append(
                    subprocess.Popen(command, env=self._env, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
                )
            except OSError as e:
                log.warning("a drainer could not be started: %s", e)
        return len(self._running)

    def stop(self) -> None:
        """See the port. One that has not begun yet ends at once: it holds nothing."""
        for process in list(self._running):
            process.terminate()

    def close(self) -> None:
        """See the port."""
        for process in self._running:
            try:
                process.wait(max(0.0, self._until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.terminate()  # it settles what has ended, and hands back what it has not started
        for process in self._running:
            process.wait()
        self._running.clear()
