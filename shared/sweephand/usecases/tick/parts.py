"""What a tick is made of, and how long it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass

from sweephand.domain.handler import Handler, Isolation
from sweephand.ports.background import Background
from sweephand.ports.clock import Clock, Randomness
from sweephand.ports.index import Index
from sweephand.ports.record import Record
from sweephand.ports.runner import Runner
from sweephand.ports.tick_trigger import TickTrigger
from sweephand.usecases.retention import Retention
from sweephand.usecases.tick.restore import Restore

MARGIN = 2.0
"""Seconds of the budget that are kept for settling and reporting after the last handler may have ended."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a tick is made of."""

    record: Record
    index: Index | None
    clock: Clock
    chance: Randomness
    handlers: Mapping[str, Handler]
    runners: Mapping[Isolation, Runner]
    restorer: Restore
    horizon_ms: int
    background: Background
    drainers: TickTrigger | None = None
    retention: Retention | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a tick goes on, in seconds from its beginning."""

    budget: float
    """For all it does, provided that handlers end within their time limits."""
    linger: float = 0
    """For waiting when nothing is due but something will be; 0: it does not wait."""
    drainers: int = 0
    """How many further drainers it may call, once. A drainer calls none: drainers that did would never end."""
