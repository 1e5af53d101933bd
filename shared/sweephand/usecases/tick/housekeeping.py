"""What a tick does after its work where there is time: delete old jobs, and look for types that no tick knows.

What fails here is logged and not raised: the work itself is done, and its report is to be told.
"""

import asyncio
import logging

from sweephand.domain.errors import RecordSetupError, RecordUnavailableError
from sweephand.usecases.tick.dependencies import Shared

log = logging.getLogger("sweephand")
PRUNE = 5.0
"""Seconds that a tick deletes old jobs: on Google the next one waits for it to end."""


async def find_unknown_types(shared: Shared) -> None:
    """Look for types that have due jobs and no handler."""
    parts, _, signal, report = shared
    if signal.stopping:
        return
    try:
        types = list(parts.handlers)
        report.note_unknown_types(await asyncio.to_thread(parts.record.find_unknown_types, types))
    except (RecordUnavailableError, RecordSetupError) as e:
        log.warning("types that no tick knows were not looked for: %s", e)


async def prune(shared: Shared) -> None:
    """Delete what was kept for long enough, for some seconds and when there is time; the next tick goes on."""
    parts, budget, signal, report = shared
    retention, clock = parts.retention, parts.clock
    until = clock.monotonic() + min(PRUNE, budget.left)
    while retention and retention.due(clock.monotonic()) and clock.monotonic() < until and not signal.stopping:
        try:
            report.pruned += await asyncio.to_thread(retention.step, clock.monotonic())
        except (RecordUnavailableError, RecordSetupError) as e:
            log.warning("not pruned: %s", e)
            return
