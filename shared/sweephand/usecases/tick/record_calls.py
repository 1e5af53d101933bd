"""Calls of the record: each is made in a thread, and for a while again when the record does not answer."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import chain, repeat
from typing import TypeAlias, TypeVar

from sweephand.domain.errors import RecordStatementError, RecordUnavailableError
from sweephand.ports.record import Entered
from sweephand.usecases.tick.dependencies import Shared

PATIENCE = 10.0
"""Seconds to go on asking a record that does not answer; after that the tick ends and the next one tries."""
RETRY_WAITS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between tries while the record is away; the last repeats."""
HALVINGS = 20
"""Calls that are made at most to find the row that fails a batch."""
ASIDE = 60.0
"""Seconds that such a row is left alone."""
BUSY_MS = 2000
"""Milliseconds that a job is left alone whose row is busy, or may be, and that one waits for its exclusive run."""
Answer = TypeVar("Answer")
Telling: TypeAlias = Callable[[], AbstractContextManager[Entered]]
"""Gives what a call is to tell the record of entered handlers; where the call raises, the next one tells it."""


class RecordCalls:
    """Makes a tick's calls of the record, within its budget; settling has a patience of its own."""

    def __init__(self, shared: Shared, telling: Telling) -> None:
        self._clock, self._budget, self._signal = shared.parts.clock, shared.budget, shared.signal
        self._telling = telling

    async def make(self, call: Callable[[], Answer], *, halved: bool = False) -> Answer:
        """Make a call; again, for a while, when there is no answer. Raises what the last try raised.

        `halved`: a statement that fails is made again once, as what it met may have passed; then the caller looks
        for the row that fails it.
        """
        failed = False
        give_up_at = self._clock.monotonic() + min(PATIENCE, max(0.0, self._budget.left))
        for wait in chain(RETRY_WAITS, repeat(RETRY_WAITS[-1])):
            try:
                return await asyncio.to_thread(call)
            except RecordUnavailableError as e:
                if halved and failed and isinstance(e, RecordStatementError):
                    raise
                failed = isinstance(e, RecordStatementError)
                if self._signal.stopping or self._clock.monotonic() + wait > give_up_at:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def make_telling(self, call: Callable[[Entered], Answer], *, halved: bool = False) -> Answer:
        """Make a call that also tells the record which handlers have been entered."""
        with self._telling() as entered:
            return await self.make(lambda: call(entered), halved=halved)


class CallsLeft:
    """How many calls may still be made to find what fails a batch."""

    def __init__(self) -> None:
        self._left = HALVINGS

    def take(self, calls: int) -> bool:
        """Tell whether so many may be made, and count them."""
        if self._left < calls:
            return False
        self._left -= calls
        return True
