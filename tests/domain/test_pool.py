"""Started jobs on their way through the slots of one isolation."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from sweephand.domain.handler import Handler, Isolation
from sweephand.domain.outcome import Outcome, Succeeded
from sweephand.ports.record import Start
from sweephand.ports.runner import Finished, Work
from sweephand.usecases.tick.pool import RUNS_PER_TURN, StartRate, WorkerPool

HANDLER = Handler("work", BaseModel, 1, Isolation.ASYNC, lambda _payload, _ctx: None)
DONE = Succeeded(None, 4)


@dataclass
class Slots:
    """A runner whose handlers end when the test says so, or at once."""

    slots: int
    stuck: int = 0
    at_once: bool = False
    running: list[Finished] = field(default_factory=list)
    entered: list[str] = field(default_factory=list)

    def enter(self, work: Work, finished: Finished) -> None:
        """See the port."""
        self.entered.append(work.start.id)
        if self.at_once:
            finished(DONE)
        else:
            self.running.append(finished)

    def close(self) -> None:
        """See the port."""


@dataclass
class Hands:
    """A clock that the test moves."""

    now: float = 0

    def monotonic(self) -> float:
        """See the port."""
        return self.now


def jobs(count: int, first: int = 0) -> list[Work]:
    """Return started jobs, named by their number."""
    starts = [Start(str(n), "work", 1, 0, 0, 3, 0, {}, "token") for n in range(first, first + count)]
    return [Work(start, HANDLER) for start in starts]


def ids(work: Sequence[Work]) -> list[str]:
    """Return the names of jobs."""
    return [one.start.id for one in work]


@dataclass
class Told:
    """What a lane told of its jobs."""

    refused: set[str] = field(default_factory=set)
    waited: dict[str, float] = field(default_factory=dict)
    finished: list[tuple[str, Outcome]] = field(default_factory=list)

    def lane(self, runner: Slots, clock: Hands) -> WorkerPool:
        """Return a lane that tells this."""

        def admit(work: Work, queued: float) -> bool:
            self.waited[work.start.id] = queued
            return work.start.id not in self.refused

        def finished(work: Work, outcome: Outcome) -> None:
            self.finished.append((work.start.id, outcome))

        return WorkerPool(runner, clock, admit, finished)


def test_job_that_finishes_lets_the_next_in() -> None:
    """Jobs are entered in order, as many as there are slots, and each end makes room for one."""
    runner, clock, told = Slots(2), Hands(), Told()
    lane = told.lane(runner, clock)
    lane.put(jobs(4))
    assert runner.entered == ["0", "1"]
    clock.now = 3
    runner.running[1](DONE)
    assert runner.entered == ["0", "1", "2"]
    assert told.finished == [("1", DONE)]
    assert told.waited == {"0": 0, "1": 0, "2": 3}
    assert lane.busy == 3


def test_what_is_refused_is_not_entered_and_takes_no_slot() -> None:
    """A job whose lease is used up is passed over: the next takes its place."""
    runner, told = Slots(2), Told(refused={"0", "2"})
    lane = told.lane(runner, Hands())
    lane.put(jobs(4))
    assert runner.entered == ["1", "3"]
    assert lane.busy == 2


def test_no_more_is_started_than_has_a_slot() -> None:
    """Before anything was seen to finish, there is room for the free slots alone."""
    runner, told = Slots(3), Told()
    lane = told.lane(runner, Hands())
    assert lane.room() == 3
    lane.put(jobs(2))
    assert lane.room() == 1 + 2  # one slot, and what the rate of the last second promises
    lane.put(jobs(5, first=2))
    assert lane.room() == 0


def test_room_follows_the_rate_just_seen() -> None:
    """What will be entered within a second may be started ahead; a second later that is forgotten."""
    runner, clock, told = Slots(1, at_once=True), Hands(), Told()
    lane = told.lane(runner, clock)
    lane.put(jobs(20))
    assert lane.room() == 1 + 20
    clock.now = 1.5
    assert lane.room() == 1


def test_what_was_not_entered_can_be_taken_back() -> None:
    """The queue is handed back in its order, and is never entered."""
    runner, told = Slots(1), Told()
    lane = told.lane(runner, Hands())
    lane.put(jobs(3))
    assert ids(lane.take_back()) == ["1", "2"]
    runner.running[0](DONE)
    assert runner.entered == ["0"]
    assert lane.busy == 0


def test_a_stuck_handler_keeps_its_slot() -> None:
    """A handler that could not be ended takes a slot for good; where all are taken nothing more is entered."""
    runner, told = Slots(4), Told()
    lane = told.lane(runner, Hands())
    runner.stuck = 1
    assert lane.room() == 3
    runner.stuck = 4
    assert lane.room() == 0
    lane.put(jobs(2))
    assert runner.entered == []
    assert ids(lane.take_back()) == ["0", "1"]


def test_handlers_that_never_wait_leave_the_loop_its_turns() -> None:
    """A long queue of short jobs is entered in slices, between which the event loop does other things."""
    runner, told = Slots(1, at_once=True), Told()
    seen: list[int] = []

    async def run() -> None:
        lane = told.lane(runner, Hands())
        lane.put(jobs(3 * RUNS_PER_TURN))
        while lane.busy:
            seen.append(len(runner.entered))
            await asyncio.sleep(0)

    asyncio.run(run())
    assert seen == [RUNS_PER_TURN, 2 * RUNS_PER_TURN]
    assert runner.entered == ids(jobs(3 * RUNS_PER_TURN))


def test_pace_is_that_of_the_last_second() -> None:
    """Older entries are forgotten one by one."""
    pace = StartRate()
    pace.add(0.0, 5)
    pace.add(0.5, 3)
    pace.add(0.6, 0)
    assert [pace.rate(now) for now in (0.9, 1.0, 1.2, 1.6)] == [8, 8, 3, 0]
