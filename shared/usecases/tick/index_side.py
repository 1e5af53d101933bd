"""A tick's dealings with the index: moves that gather, claims, and what the index tells beside them."""

import asyncio
import logging
import math
from collections.abc import Sequence

from shared.domain.errors import IndexUnavailableError
from shared.ports.clock import Clock
from shared.ports.index import PLAIN, Ask, Index, Lane, Listener, Moves, Step
from shared.usecases.tick.report import Report
from shared.usecases.tick.wakeup import Wakeup

log = logging.getLogger("minutehand")
PAUSE = 5.0
"""Seconds to leave an index alone that did not answer."""


class IndexSide:
    """The index as one tick sees it; it may be away, or not be there at all."""

    def __init__(self, index: Index | None, clock: Clock, report: Report) -> None:
        self._index, self._clock, self._report = index, clock, report
        self.moves = Moves()
        """What the next step carries out."""
        self.installation = ""
        """Told by the record's first page."""
        self.superseded = False
        """A newer scheduled tick has begun."""
        self.awake = False
        """This tick counts as awake: who creates a job relies on it."""
        self.next_due_at = math.inf
        """When something comes due, on the clock's time; known after a step that claimed nothing."""
        self._back_at = -math.inf
        self._generation: int | None = None
        self._listener: Listener | None = None

    @property
    def up(self) -> bool:
        """Tell whether it is worth asking."""
        return self._index is not None and self._clock.monotonic() >= self._back_at

    @property
    def entered(self) -> bool:
        """Tell whether the index has given a generation."""
        return self._generation is not None

    async def step(self, lanes: Sequence[Lane] = (), ask: Ask = PLAIN) -> Step | None:
        """Carry out the moves that have gathered, and claim; None when the index does not answer.

        Moves that are lost with it are not missed: the record is asked again, and its answer stands.
        """
        if not self.up:
            return None
        assert self._index is not None
        moves, self.moves = self.moves, Moves()
        try:
            step = await asyncio.to_thread(self._index.step, self.installation, moves, lanes, ask)
        except IndexUnavailableError as e:
            log.warning("working without the index: %s", e)
            self._report.index_errors += 1
            self._back_at = self._clock.monotonic() + PAUSE
            return None
        self._report.restored += step.added
        if lanes:
            self._note(step)
        return step

    def _note(self, step: Step) -> None:
        if self._generation is None:
            self._generation = step.generation
        self.superseded = step.generation > self._generation
        if self.superseded:
            self.close()  # a kick wakes one that listens: the newer, which waits for nothing else
        self.awake = step.awake
        now = self._clock.monotonic()
        self.next_due_at = math.inf if step.next_ms is None else now + step.next_ms / 1000

    def listen(self, wakeup: Wakeup) -> None:
        """Begin to listen for kicks, once, unless a newer tick does."""
        if self._listener is not None or self.superseded or not self.up:
            return
        assert self._index is not None
        loop = asyncio.get_running_loop()

        def woken() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(wakeup.kick)

        self._listener = self._index.listen(self.installation, woken)

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
