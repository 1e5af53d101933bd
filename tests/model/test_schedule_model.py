"""The record's schedules against a model of what was promised, in any order of steps.

Ticks read pages and carry out their plans whenever, or never, or twice; meanwhile schedules are changed, paused,
resumed, and time passes. The forbidden figures are a fire twice, and a fire lost.
"""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sweephand.domain.fires import backfill_fires
from sweephand.domain.schedule_request import new_schedule
from sweephand.ports.record import DueSchedules
from sweephand.usecases.tick.fires import make_fires
from tests.conftest import empty_record
from tests.schedules import conftest
from tests.schedules.conftest import HANDLERS, JOB, START, Schedules

clock, schedules = conftest.clock, conftest.schedules
NAME = "often"
EVERY = ("PT20S", "PT1M", "PT7M")
TICK = timedelta(microseconds=1)


class Machine(RuleBasedStateMachine):
    """One schedule, any number of ticks, and its owner."""

    world: Schedules
    superuser_url: str

    @initialize(every=st.sampled_from(EVERY))
    def begin(self, every: str) -> None:
        """Insert the schedule."""
        empty_record(self.superuser_url)
        self.world.clock.set(START)
        self.world.insert(NAME, every=every, misfire="all", misfire_limit=1000, overlap="allow")
        self.every, self.since, self.paused = every, START, False
        self.owed: set[datetime] = set()
        self.pages: list[DueSchedules] = []

    @rule(seconds=st.sampled_from((1, 20, 59, 60, 61, 600, 3600)))
    def pass_time(self, seconds: int) -> None:
        """Time passes without a tick."""
        self.world.clock.move(seconds=seconds)

    @rule()
    def read(self) -> None:
        """A tick reads a page, and is held up."""
        if (due := self.world.page().schedules) is not None:
            self.pages.append(due)

    @precondition(lambda self: self.pages)
    @rule(which=st.integers(0, 10), times=st.integers(1, 2))
    def carry_out(self, which: int, times: int) -> None:
        """A tick that was held up carries out its plan; an answer that is lost has it do so again."""
        for _ in range(times):
            make_fires(self.world.record, HANDLERS, self.pages[which % len(self.pages)])

    @rule()
    def look(self) -> None:
        """A tick does all at once: then no fire is lost."""
        self.world.look()
        now = self.world.clock.now
        ahead = set() if self.paused else self._fires(self.since, now + timedelta(seconds=120))
        assert set(self.world.fires(NAME)) == self.owed | ahead

    @rule(every=st.sampled_from(EVERY))
    def change(self, every: str) -> None:
        """The owner has it fire otherwise: what is not due is taken back, the rest stays."""
        self._update("every", every)
        self.every = every

    @rule()
    def pause_or_resume(self) -> None:
        """The owner pauses it, or resumes it from now on."""
        self._update("paused", not self.paused)
        self.paused = not self.paused

    @invariant()
    def no_fire_has_two_jobs(self) -> None:
        """Whatever comes, no fire has two jobs, and none is made more than 120 s ahead."""
        fires = self.world.fires(NAME)
        assert len(fires) == len(set(fires))
        assert all(at <= self.world.clock.now + timedelta(seconds=120) for at in fires)

    def _update(self, column: str, value: Any) -> None:
        decided = datetime.fromisoformat(self.world.row(NAME)["cursor"])
        self.world.sql.execute(f"update sweephand.schedules set {column} = %s".encode(), (value,))
        changed = datetime.fromisoformat(self.world.row(NAME)["cursor"])
        if value == getattr(self, column):
            return
        now = self.world.clock.now
        assert changed == now if self.paused else changed == min(decided, now)
        if not self.paused:  # what was decided by the old body, and was due, is owed for good
            self.owed |= self._fires(self.since, changed)
        self.since = changed

    def _fires(self, after: datetime, until: datetime) -> set[datetime]:
        body: dict[str, Any] = {"name": NAME, "every": self.every, "job": JOB}
        schedule = new_schedule(body, None)
        return set(backfill_fires(schedule, after + TICK, until, at_most=10_000).fires)


@pytest.fixture
def machine(schedules: Schedules, clean: Any) -> type[Machine]:
    """Yield the machine over an empty record."""
    Machine.world, Machine.superuser_url = schedules, clean.superuser_url
    return Machine


def test_schedules_keep_to_their_model(machine: type[Machine]) -> None:
    """In any order of steps each fire has one job, and none is lost."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
