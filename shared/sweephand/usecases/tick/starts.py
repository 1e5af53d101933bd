"""The start calls that are under way: the record works on one while the answer of another is taken in."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from sweephand.domain.handler import Isolation

MOST = 2
"""Calls under way at once."""
Call = Callable[["asyncio.Task[None] | None"], Coroutine[Any, Any, None]]
"""Given the call before it, which it is to hand over after; None when that has ended."""


class StartCalls:
    """Keeps at most MOST calls under way; `changed` is called when one has ended."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tasks: deque[asyncio.Task[None]] = deque()
        self._claimed: Counter[Isolation] = Counter()

    @property
    def under_way(self) -> bool:
        """Tell whether there is a call that nobody has waited for."""
        return bool(self._tasks)

    def claimed(self, isolation: Isolation) -> int:
        """Return how many jobs are in these calls: they will need room in their lane."""
        return self._claimed[isolation]

    async def begin(self, call: Call, isolations: Iterable[Isolation]) -> None:
        """Make a call for jobs of these isolations, after waiting for the oldest where there are MOST.

        Raises what that one raised; the new one is not made then.
        """
        while len(self._tasks) >= MOST:
            await self._tasks.popleft()
        count = Counter(isolations)
        self._claimed.update(count)
        before = self._tasks[-1] if self._tasks else None
        self._tasks.append(asyncio.create_task(self._counted(call(before), count)))

    async def _counted(self, call: Coroutine[Any, Any, None], count: Counter[Isolation]) -> None:
        try:
            await call
        finally:
            self._claimed.subtract(count)
            self._changed()

    async def finish(self) -> None:
        """Wait for all; raises what the first that failed raised."""
        while self._tasks:
            await self._tasks.popleft()

    async def end(self) -> None:
        """Wait for what is left after an error: that error is told, not theirs."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
