"""What the composition root makes a tick of, and what the stages of one tick share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sweephand.domain.handler import Handler, Isolation
from sweephand.ports.background import Background
from sweephand.ports.clock import Clock, Randomness
from sweephand.ports.index import Index
from sweephand.ports.record import Record
from sweephand.ports.runner import Runner
from sweephand.ports.tick_trigger import TickTrigger
from sweephand.usecases.retention import Retention
from sweephand.usecases.tick.budget import Budget
from sweephand.usecases.tick.pages import PageReader
from sweephand.usecases.tick.report import Report
from sweephand.usecases.tick.signals import Signal


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a tick is made of."""

    record: Record
    index: Index | None
    clock: Clock
    randomness: Randomness
    handlers: Mapping[str, Handler]
    """By type: a handler stands under its name and under each of its aliases."""
    runners: Mapping[Isolation, Runner]
    pages: PageReader
    horizon_ms: int
    background: Background
    drainers: TickTrigger | None = None
    retention: Retention | None = None


class Shared(NamedTuple):
    """What the stages of one tick share."""

    parts: Dependencies
    budget: Budget
    signal: Signal
    report: Report
