"""Starts whose handlers have been entered, while the record does not know it.

A start that is lost with its function counts as a crash only where the record knows that its handler was entered.
A tick tells the record of entries with calls that it makes anyway. Most jobs end before that, and then
nothing needs to be told of them.
"""

from collections import deque

from sweephand.domain.attempt import Attempt
from sweephand.ports.clock import Clock
from sweephand.ports.record import Entered

AFTER = 0.1
"""Seconds that a handler has run before its entry is told: a job that ends sooner is settled as cheaply."""
MOST = 1000
"""Entries that one call tells."""


class Entries:
    """Notes attempts as their handlers are entered and end, and hands out what the record does not know yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._untold: deque[tuple[float, str, str]] = deque()
        self._running: set[tuple[str, str]] = set()

    def began(self, attempt: Attempt, now: float) -> None:
        """Note that the attempt's handler is entered `now`, on the clock's time."""
        self._untold.append((now, attempt.claim.id, attempt.token))
        self._running.add((attempt.claim.id, attempt.token))

    def ended(self, attempt: Attempt) -> None:
        """Note that the attempt has ended: nothing needs to be told of it any more."""
        self._running.discard((attempt.claim.id, attempt.token))

    def take(self) -> Entered:
        """Return what the next call is to tell: ids by token."""
        entered: dict[str, list[str]] = {}
        before, count = self._clock.monotonic() - AFTER, 0
        while self._untold and self._untold[0][0] <= before and count < MOST:
            _, id_, token = self._untold.popleft()
            if (id_, token) in self._running:
                entered.setdefault(token, []).append(id_)
                count += 1
        return entered

    def put_back(self, entered: Entered) -> None:
        """Have the next call tell these: the call that was to do it has failed."""
        for token, ids in entered.items():
            self._untold.extendleft((0.0, id_, token) for id_ in ids)
