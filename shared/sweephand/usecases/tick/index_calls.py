"""Calls of the index: each is made in the background, and waited for as long as an index may reasonably take."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TypeVar

from sweephand.domain.errors import IndexUnavailableError
from sweephand.ports.background import Background
from sweephand.ports.clock import Clock
from sweephand.usecases.tick.report import Report

log = logging.getLogger("sweephand")
Answer = TypeVar("Answer")
PAUSE = 5.0
"""Seconds to leave an index alone that did not answer."""
PATIENCE = 2.5
"""Seconds to wait for an index: longer than its own limits take, were it not for look-ups that have none."""


class IndexCalls:
    """Makes a tick's calls of the index, one at a time."""

    def __init__(self, clock: Clock, background: Background, report: Report) -> None:
        self._clock, self._background, self._report = clock, background, report
        self._back_at = -math.inf
        self._hung = False  # a call has not come back for which nobody waits any more

    @property
    def worthwhile(self) -> bool:
        """Whether an answer can be expected: no call hangs, and none has failed within the last PAUSE seconds."""
        return not self._hung and self._clock.monotonic() >= self._back_at

    async def make(self, call: Callable[[], Answer]) -> Answer | None:
        """Return the answer of a call; None when there is none, and then pause."""
        try:
            return await self._make(call)
        except IndexUnavailableError as e:
            log.warning("working without the index: %s", e)
            self._report.index_errors += 1
            self._back_at = self._clock.monotonic() + PAUSE
            return None

    async def _make(self, call: Callable[[], Answer]) -> Answer:
        """Make a call in the background, and stop waiting for it after PATIENCE.

        The look-up of a name, or a cluster's search for its nodes, has no limit. A thread that hangs must keep
        neither the record's calls from their turn nor the process from its end.
        """
        loop = asyncio.get_running_loop()
        waited_for: asyncio.Future[Answer] = loop.create_future()

        def done(answer: Answer | None, error: BaseException | None) -> None:
            self._hung = False
            if waited_for.done():
                return
            if error is not None:
                waited_for.set_exception(error)
            elif answer is not None:
                waited_for.set_result(answer)

        def run() -> None:
            answer, error = None, None
            try:
                answer = call()
            except BaseException as e:  # noqa: BLE001 - raised again on the event loop
                error = e
            if not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(done, answer, error)
                except RuntimeError:  # closed meanwhile
                    return

        self._hung = True
        self._background.does(run, 0)
        try:
            return await asyncio.wait_for(waited_for, PATIENCE)
        except TimeoutError as e:
            raise IndexUnavailableError(f"The index does not answer: nothing in {PATIENCE:g} s.") from e
