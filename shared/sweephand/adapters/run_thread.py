"""Runs `def` handlers in threads, and is what the process runner waits in."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable

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

Perform = Callable[[Attempt], Outcome]


class ThreadRunner:
    """The `Runner` port on daemon threads, which start when they are first needed.

    Daemons, because a stuck thread must not keep its process from ending. `grace`: seconds beyond the time limit
    until a thread is given up; for a `perform` that keeps the limit by itself.
    """

    def __init__(self, slots: int, perform: Perform, *, grace: float = 0) -> None:
        self.slots = slots
        self.stuck = 0
        self._grace = grace
        self._perform = perform
        self._todo: queue.SimpleQueue[tuple[Attempt, Callable[[Outcome], None]] | None] = queue.SimpleQueue()
        self._threads = 0
        self._running = 0

    def run(self, attempt: Attempt, ended: Ended) -> None:
        """See the port."""
        loop = asyncio.get_running_loop()
        over = False

        def once(outcome: Outcome) -> None:
            nonlocal over
            if not over:
                over = True
                timer.cancel()
                self._running -= 1
                ended(attempt, outcome)

        def give_up() -> None:
            self.stuck += 1
            self._threads -= 1  # that thread will take no more work, if ever it returns
            once(TimedOut(attempt.handler.timeout, stuck=True))

        def report(outcome: Outcome) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(once, outcome)

        timer = TimeLimit(attempt.handler.timeout + self._grace, give_up)
        self._running += 1
        if self._running > self._threads:
            self._threads += 1
            threading.Thread(target=self._work, name="sweephand-handler", daemon=True).start()
        self._todo.put((attempt, report))

    def close(self) -> None:
        """See the port."""
        for _ in range(self._threads):
            self._todo.put(None)
        self._threads = 0

    def _work(self) -> None:
        while (item := self._todo.get()) is not None:
            attempt, report = item
            try:
                outcome = self._perform(attempt)
            except BaseException as e:  # noqa: BLE001 - such as no memory for a child process
                outcome = outcome_of_error(e)
            report(outcome)


def in_thread(context: Callable[[Attempt], Context]) -> Perform:
    """Return what runs a handler in the thread that calls it."""

    def perform(attempt: Attempt) -> Outcome:
        payload = validate(attempt.handler, attempt.payload)
        if isinstance(payload, PayloadInvalid):
            return payload
        try:
            ctx = context(attempt)
        except BaseException as e:  # noqa: BLE001 - a setting that cannot work is this attempt's error
            return outcome_of_error(e)
        # Last of all: the process may have been frozen on the way from the event loop to here.
        if time.monotonic() > attempt.run_by:
            return NotRun()
        try:
            return outcome_of_result(attempt.handler.run(payload, ctx))
        except BaseException as e:  # noqa: BLE001 - SystemExit in a handler is the handler's failure, not ours
            return outcome_of_error(e)

    return perform
