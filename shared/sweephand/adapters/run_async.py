"""Runs `async def` handlers as tasks of the event loop."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from sweephand.adapters.time_limit import TimeLimit
from sweephand.domain.attempt import (
    Attempt,
    NotRun,
    Outcome,
    PayloadInvalid,
    TimedOut,
    outcome_of_error,
    outcome_of_result,
    validate,
)
from sweephand.domain.handler import Context
from sweephand.ports.runner import Ended

GRACE = 1.0
"""Seconds that a cancelled handler has to let go of what it holds."""


class AsyncRunner:
    """The `Runner` port for `Isolation.ASYNC`."""

    def __init__(self, slots: int, context: Callable[[Attempt], Context]) -> None:
        self.slots = slots
        self.stuck = 0
        self._context = context

    def run(self, attempt: Attempt, ended: Ended) -> None:
        """See the port. A handler that never waits has ended when this returns."""
        payload = validate(attempt.handler, attempt.payload)
        if isinstance(payload, PayloadInvalid):
            ended(attempt, payload)
            return
        task = _eager(_run(attempt.handler.run(payload, self._context(attempt)), attempt))
        if task.done():
            ended(attempt, task.result())
        else:
            _Limit(self, task, attempt, ended)

    def close(self) -> None:
        """See the port."""


class _Limit:
    """Ends a task at its time limit, and reports its outcome once."""

    def __init__(self, runner: AsyncRunner, task: asyncio.Task[Outcome], attempt: Attempt, ended: Ended) -> None:
        self._runner, self._task, self._attempt, self._ended = runner, task, attempt, ended
        self._over = False
        self._timer: TimeLimit | asyncio.TimerHandle = TimeLimit(attempt.handler.timeout, self._cancel)
        task.add_done_callback(self._done)

    def _cancel(self) -> None:
        if self._task.done():  # in time: `_done` is on its way
            return
        self._over = True
        self._task.cancel()
        self._timer = asyncio.get_running_loop().call_later(GRACE, self._give_up)

    def _give_up(self) -> None:
        """Report a task that goes on after it was cancelled."""
        self._task.remove_done_callback(self._done)
        self._runner.stuck += 1
        self._ended(self._attempt, TimedOut(self._attempt.handler.timeout, stuck=True))

    def _done(self, task: asyncio.Task[Outcome]) -> None:
        self._timer.cancel()
        timed_out = TimedOut(self._attempt.handler.timeout, stuck=False) if self._over else None
        self._ended(self._attempt, timed_out or task.result())


async def _run(handler: Coroutine[Any, Any, Any], attempt: Attempt) -> Outcome:
    """Return what the handler did. It may raise anything: nothing may reach the event loop and end it."""
    if time.monotonic() > attempt.run_by:  # frozen before this task had its turn
        handler.close()
        return NotRun()
    try:
        return outcome_of_result(await handler)
    except BaseException as e:  # noqa: BLE001 - SystemExit in a handler is the handler's failure, not ours
        return outcome_of_error(e)


def _eager(run: Coroutine[Any, Any, Outcome]) -> asyncio.Task[Outcome]:
    """Make a task that has run until its first wait where Python can do that (3.12): most of a short job's cost."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(run, loop=loop, eager_start=True)
    return loop.create_task(run)
