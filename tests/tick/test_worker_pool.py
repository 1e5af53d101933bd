"""Started jobs on their way through the slots of one isolation."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from sweephand.domain.attempt import Attempt, Claim, Outcome, Succeeded
from sweephand.ports.runner import Ended
from sweephand.usecases.tick.run import RUNS_PER_TURN, StartRate, WorkerPool
from tests.domain.attempts import attempt

DONE = Succeeded(None, 4)


@dataclass
class Slots:
    """A runner whose handlers end when the test says so, or at once."""

    slots: int
    stuck: int = 0
    at_once: bool = False
    running: list[Callable[[Outcome], None]] = field(default_factory=list)
    entered: list[str] = field(default_factory=list)

    def run(self, attempt: Attempt, ended: Ended) -> None:
        """See the port."""
        self.entered.append(attempt.claim.id)
        if self.at_once:
            ended(attempt, DONE)
        else:
            self.running.append(partial(ended, attempt))

    def close(self) -> None:
        """See the port."""


@dataclass
class Hands:
    """A clock that the test moves."""

    now: float = 0

    def monotonic(self) -> float:
        """See the port."""
        return self.now


def jobs(count: int, first: int = 0) -> list[Attempt]:
    """Return started jobs, named by their number."""
    return [attempt(claim=Claim(str(n), "work", 0, 0, 0)) for n in range(first, first + count)]


def ids(attempts: Sequence[Attempt]) -> list[str]:
    """Return the names of jobs."""
    return [each.claim.id for each in attempts]


@dataclass
class Told:
    """What a pool told of its jobs."""

    refused: set[str] = field(default_factory=set)
    waited: dict[str, float] = field(default_factory=dict)
    finished: list[tuple[str, Outcome]] = field(default_factory=list)

    def pool(self, runner: Slots, clock: Hands) -> WorkerPool:
        """Return a pool that tells this."""

        def may_run(attempt: Attempt, queued: float) -> bool:
            self.waited[attempt.claim.id] = queued
            return attempt.claim.id not in self.refused

        def ended(attempt: Attempt, outcome: Outcome) -> None:
            self.finished.append((attempt.claim.id, outcome))

        return WorkerPool(runner, clock, may_run, ended)


def test_job_that_finishes_lets_the_next_in() -> None:
    """Jobs are entered in order, as many as there are slots, and each end makes room for one."""
    runner, clock, told = Slots(2), Hands(), Told()
    pool = told.pool(runner, clock)
    pool.put(jobs(4))
    assert runner.entered == ["0", "1"]
    clock.now = 3
    runner.running[1](DONE)
    assert runner.entered == ["0", "1", "2"]
    assert told.finished == [("1", DONE)]
    assert told.waited == {"0": 0, "1": 0, "2": 3}
    assert pool.in_flight == 3


def test_what_is_refused_is_not_entered_and_takes_no_slot() -> None:
    """A job whose lease is used up is passed over: the next takes its place."""
    runner, told = Slots(2), Told(refused={"0", "2"})
    pool = told.pool(runner, Hands())
    pool.put(jobs(4))
    assert runner.entered == ["1", "3"]
    assert pool.in_flight == 2


def test_no_more_is_started_than_has_a_slot() -> None:
    """Before anything was seen to finish, there is room for the free slots alone."""
    runner, told = Slots(3), Told()
    pool = told.pool(runner, Hands())
    assert pool.capacity() == 3
    pool.put(jobs(2))
    assert pool.capacity() == 1 + 2  # one slot, and what the rate of the last second promises
    pool.put(jobs(5, first=2))
    assert pool.capacity() == 0


def test_room_follows_the_rate_just_seen() -> None:
    """What will be entered within a second may be started ahead; a second later that is forgotten."""
    runner, clock, told = Slots(1, at_once=True), Hands(), Told()
    pool = told.pool(runner, clock)
    pool.put(jobs(20))
    assert pool.capacity() == 1 + 20
    clock.now = 1.5
    assert pool.capacity() == 1


def test_what_was_not_entered_can_be_taken_back() -> None:
    """The queue is handed back in its order, and is never entered."""
    runner, told = Slots(1), Told()
    pool = told.pool(runner, Hands())
    pool.put(jobs(3))
    assert ids(pool.take_queued()) == ["1", "2"]
    runner.running[0](DONE)
    assert runner.entered == ["0"]
    assert pool.in_flight == 0


def test_a_stuck_handler_keeps_its_slot() -> None:
    """A handler that could not be ended takes a slot for good; where all are taken nothing more is entered."""
    runner, told = Slots(4), Told()
    pool = told.pool(runner, Hands())
    runner.stuck = 1
    assert pool.capacity() == 3
    runner.stuck = 4
    assert pool.capacity() == 0
    pool.put(jobs(2))
    assert runner.entered == []
    assert ids(pool.take_queued()) == ["0", "1"]


def test_handlers_that_never_wait_leave_the_loop_its_turns() -> None:
    """A long queue of short jobs is entered in slices, between which the event loop does other things."""
    runner, told = Slots(1, at_once=True), Told()
    seen: list[int] = []

    async def run() -> None:
        pool = told.pool(runner, Hands())
        pool.put(jobs(3 * RUNS_PER_TURN))
        while pool.in_flight:
            seen.append(len(runner.entered))
            await asyncio.sleep(0)

    asyncio.run(run())
    assert seen == [RUNS_PER_TURN, 2 * RUNS_PER_TURN]
    assert runner.entered == ids(jobs(3 * RUNS_PER_TURN))


def test_start_rate_is_that_of_the_last_second() -> None:
    """Older entries are forgotten one by one."""
    start_rate = StartRate()
    start_rate.add(0.0, 5)
    start_rate.add(0.5, 3)
    start_rate.add(0.6, 0)
    assert [start_rate.rate(now) for now in (0.9, 1.0, 1.2, 1.6)] == [8, 8, 3, 0]
