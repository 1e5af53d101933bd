"""Runs `async def` handlers as tasks of the event loop."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from sweephand.adapters import entered
from sweephand.adapters.time_limit import TimeLimit
from sweephand.domain.attempt import admitted, raised, returned
from sweephand.domain.handler import Context
from sweephand.domain.outcome import NotRun, Outcome, PayloadInvalid, TimedOut
from sweephand.ports.runner import Finished, Work

GRACE = 1.0
"""Seconds that a cancelled handler has to let go of what it holds."""


class AsyncRunner:
    """The `Runner` port for `Isolation.ASYNC`."""

    def __init__(self, slots: int, context: Callable[[Work], Context]) -> None:
        self.slots = slots
        self.stuck = 0
        self._context = context

    def enter(self, work: Work, finished: Finished) -> None:
        """See the port. A handler that never waits has finished when this returns."""
        payload = admitted(work.handler, work.start.payload)
        if isinstance(payload, PayloadInvalid):
            finished(payload)
            return
        task = _eager(_run(work.handler.run(payload, self._context(work)), work))
        if task.done():
            finished(task.result())
        else:
            _Limit(self, task, work.handler.timeout, finished)

    def close(self) -> None:
        """See the port."""


class _Limit:
    """Ends a task at its time limit, and reports it once."""

    def __init__(self, runner: AsyncRunner, task: asyncio.Task[Outcome], limit: float, finished: Finished) -> None:
        self._runner, self._task, self._limit, self._finished = runner, task, limit, finished
        self._over = False
        self._timer: TimeLimit | asyncio.TimerHandle = TimeLimit(limit, self._cancel)
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
        self._finished(TimedOut(self._limit, stuck=True))

    def _done(self, task: asyncio.Task[Outcome]) -> None:
        self._timer.cancel()
        self._finished(TimedOut(self._limit, stuck=False) if self._over else task.result())


async def _run(handler: Coroutine[Any, Any, Any], work: Work) -> Outcome:
    """Return what the handler did. It may raise anything: nothing may reach the event loop and end it."""
    if time.monotonic() > work.enter_by:  # frozen before this task had its turn
        handler.close()
        return NotRun()
    entered.enter(work)
    try:
        return returned(await handler)
    except BaseException as e:  # noqa: BLE001 - SystemExit in a handler is the handler's failure, not ours
        return raised(e)
    finally:
        entered.leave(work)


def _eager(run: Coroutine[Any, Any, Outcome]) -> asyncio.Task[Outcome]:
    """Make a task that has run until its first wait where Python can do that (3.12): most of a short job's cost."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(run, loop=loop, eager_start=True)
    return loop.create_task(run)
