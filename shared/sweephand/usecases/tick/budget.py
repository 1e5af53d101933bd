"""How long a tick goes on, and which types may still start in the time that is left."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweephand.domain.handler import Handler
from sweephand.ports.clock import Clock

MARGIN = 2.0
"""Seconds of the budget that are kept for settling and reporting after the last handler may have ended."""
LEASE_MARGIN_MS = 10_000
"""What a lease lasts beyond the handler's time limit, for settling."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a tick goes on, in seconds from its beginning."""

    budget: float
    """For all it does, provided that handlers end within their time limits."""
    linger: float = 0
    """For waiting when nothing is due but something will be; 0: it does not wait."""
    drainers: int = 0
    """How many further drainers it may call, once. A drainer calls none: drainers that did would never end."""


class Budget:
    """The time of one tick, in seconds of the clock."""

    def __init__(self, clock: Clock, handlers: Mapping[str, Handler], limits: Limits) -> None:
        self._clock, self._handlers, self._limits = clock, handlers, limits
        self._began = clock.monotonic()

    def begin(self) -> None:
        """Count from now on."""
        self._began = self._clock.monotonic()

    @property
    def _deadline(self) -> float:
        return self._began + self._limits.budget

    @property
    def left(self) -> float:
        """Seconds in which handlers may still run."""
        return self._deadline - MARGIN - self._clock.monotonic()

    @property
    def last_end(self) -> float:
        """When the last handler must have ended."""
        return self._deadline - MARGIN / 2

    @property
    def settle_until(self) -> float:
        """Until when a settlement is tried that the record does not answer."""
        return self._deadline + LEASE_MARGIN_MS / 1000

    @property
    def linger_ends(self) -> float:
        """Until when the tick waits for a job to come due."""
        return min(self._began + self._limits.linger, self._deadline - MARGIN)

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the tick began."""
        return round((self._clock.monotonic() - self._began) * 1000)

    def lease_ms(self, type_: str) -> int:
        """Return how long a job of this type is leased, in ms."""
        return round(self._handlers[type_].timeout * 1000) + LEASE_MARGIN_MS

    def fitting(self) -> list[str]:
        """Return the types whose time limit fits what is left."""
        left = self.left
        return [type_ for type_, handler in self._handlers.items() if handler.timeout <= left]
