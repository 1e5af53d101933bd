"""Starts whose handlers have been entered, and of which the record does not know that yet.

A start that is lost with its function counts as a crash only where its handler is known to have been entered.
That is told with calls that are made anyway; most jobs have ended by then, and nothing needs to be told of them.
"""

from collections import deque
from collections.abc import Callable

from sweephand.ports.record import Entered

AFTER = 0.1
"""Seconds that a handler has run when it is told: a job that ends sooner is settled as cheaply."""
MOST = 1000
"""Starts that are told by one call."""


class Entries:
    """Filled as handlers are entered; `runs(id, token)` tells whether that start is still running."""

    def __init__(self, now: Callable[[], float], runs: Callable[[str, str], bool]) -> None:
        self._now, self._runs = now, runs
        self._entered: deque[tuple[float, str, str]] = deque()

    def add(self, id_: str, token: str) -> None:
        """Note that the handler of this start is entered now."""
        self._entered.append((self._now(), id_, token))

    def take(self) -> Entered:
        """Return what is to be told by a call that is about to be made."""
        told: dict[str, list[str]] = {}
        before, count = self._now() - AFTER, 0
        while self._entered and self._entered[0][0] <= before and count < MOST:
            _, id_, token = self._entered.popleft()
            if self._runs(id_, token):
                told.setdefault(token, []).append(id_)
                count += 1
        return told

    def put_back(self, entered: Entered) -> None:
        """Tell these by another call: the one that was to do it has failed."""
        for token, ids in entered.items():
            self._entered.extendleft((0.0, id_, token) for id_ in ids)
