"""Jobs that a tick leaves alone for a while: their rows are held by a transaction, or fail statements."""

import math

from sweephand.ports.clock import Clock

MOST = 5_000
"""Ids that a page is asked to pass over, at most: those that were put last."""


class SkipList:
    """The ids to leave alone, each until a time of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def put(self, id_: str, seconds: float) -> None:
        """Leave a job alone for so long, or longer where that was said before."""
        until = self._clock.monotonic() + seconds
        self._until[id_] = max(until, self._until.get(id_, until))

    def __contains__(self, id_: str) -> bool:
        return self._until.get(id_, -math.inf) > self._clock.monotonic()

    def ids(self) -> list[str]:
        """Return the ids that a page is to pass over, and forget those whose time is over."""
        now = self._clock.monotonic()
        self._until = {id_: until for id_, until in self._until.items() if until > now}
        return list(self._until)[-MOST:]
