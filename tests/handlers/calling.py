"""Calls by the real handler, from a test that is no coroutine."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest

from sweephand.handlers.http_call import allow
from sweephand.handlers.http_call.allow import Allowed
from sweephand.handlers.http_call.service import HttpService
from sweephand.handlers.http_call.signing import SigningKeys
from sweephand.handlers.http_request import HttpRequestPayload, http_request
from tests.handlers.conftest import context
from tests.open_connections import abort_connections

T = TypeVar("T")


class Caller:
    """A process's calls, with settings of the test's own; `run` gives it an event loop."""

    def __init__(
        self,
        allowed: Sequence[str] = ("127.0.0.0/8",),
        keys: Sequence[str] = (),
        ca_file: str = "",
        resolve: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        self.service = HttpService(Allowed.of(allowed), SigningKeys.of(keys), ca_file, resolve)

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run `main` on an event loop of its own, as a tick runs, and close what it left open."""
        loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(asyncio.wait_for(main(), 60))
        finally:
            self.service.close(loop)
            loop.run_until_complete(abort_connections())
            loop.close()

    async def call(self, url: str, *, attempt: int = 1, **payload: Any) -> dict[str, Any]:
        """Validate a payload and enter the handler with it."""
        made = HttpRequestPayload(url=url, **payload)
        return await http_request(made, context(http=self.service, attempt=attempt))


@pytest.fixture(autouse=True)
def loopback_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let payloads of this test name this machine; what is called is judged by the caller's own settings."""
    monkeypatch.setattr(allow._Installed, "allowed", Allowed.of(["127.0.0.0/8"]))
