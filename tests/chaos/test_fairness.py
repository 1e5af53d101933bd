"""The figures of waiting, order and shares count what they are to count, and nothing that is excused."""

from tests.chaos.fairness import (
    Job,
    Overtaken,
    Short,
    dealt,
    excused,
    overtaken,
    shares,
    unattended,
    waited,
    windows,
)

QUICK, BRIEF = ("quick", 0), ("brief", 0)
RUN = [(0.0, 1000.0)]


def test_a_window_is_what_no_fault_covers() -> None:
    """Faults that overlap are one; what is left before, between and after them is judged."""
    assert windows(0, 100, [(20, 40), (10, 30), (60, 70)]) == [(0, 10), (40, 60), (70, 100)]
    assert windows(0, 100, [(-5, 200)]) == []


def test_a_gap_between_ticks_is_excused_when_it_is_long() -> None:
    """Ticks follow one another with short gaps; only a long one is a time without ticks."""
    assert list(unattended(0, 30, [(0, 10), (11, 20)])) == [(20, 30)]


def test_a_job_that_waits_beside_an_idle_pool_is_counted() -> None:
    """Sixteen seconds with nothing started are a wait; fifteen are not."""
    jobs = [Job("late", QUICK, 100, 116.5), Job("in time", QUICK, 100, 114)]
    assert list(waited(jobs, RUN, [])) == ["late"]


def test_a_job_that_waits_for_capacity_is_not_counted() -> None:
    """A pool that starts fifty jobs in each second of the wait has no room."""
    starts = [100 + n / 50 for n in range(17 * 50)]
    assert not waited([Job("behind", QUICK, 100, 116.5)], RUN, starts)


def test_a_wait_within_a_fault_is_not_counted() -> None:
    """A wait counts as far as it lies in one window."""
    job = Job("late", QUICK, 100, 130)
    assert not waited([job], [(0, 112), (120, 1000)], [])
    assert waited([job], [(0, 112), (114, 1000)], [])


def test_a_job_that_was_overtaken_is_counted() -> None:
    """It started more than five seconds after one of its lane that was due later."""
    jobs = [Job("old", QUICK, 10, 30), Job("new", QUICK, 11, 24), Job("other lane", BRIEF, 9, 29)]
    assert overtaken(jobs, RUN) == [Overtaken("old", QUICK, 24, 30)]


def test_equally_due_jobs_do_not_overtake() -> None:
    """Jobs of one statement are due at the same time, in no order."""
    assert not overtaken([Job("a", QUICK, 10, 30), Job("b", QUICK, 10, 11)], RUN)


def test_a_second_attempt_is_in_no_order() -> None:
    """What was lost with a function starts when its lease is over."""
    assert not overtaken([Job("old", QUICK, 10, 30, attempt=2), Job("new", QUICK, 11, 24)], RUN)


def test_what_a_tick_handed_back_may_be_overtaken() -> None:
    """A tick that ends excuses as many as it released, and no more."""
    found = [Overtaken("a", QUICK, 24, 30), Overtaken("b", QUICK, 24, 31)]
    assert [one.id for one in excused(found, [(25, 1)])] == ["b"]
    assert len(excused(found, [(300, 10)])) == 2


def backlog(lane: tuple[str, int], count: int) -> list[Job]:
    """Return jobs that are due at 0 and start much later."""
    return [Job(f"{lane}{n}", lane, 0, 900) for n in range(count)]


def test_a_lane_that_comes_short_is_counted() -> None:
    """Of two lanes with a backlog, one that gets less than half of an even share is told."""
    jobs = backlog(QUICK, 900) + backlog(BRIEF, 900)
    even = [n / 100 for n in range(500)]
    assert shares(jobs, [(0, 5)], {QUICK: even, BRIEF: even}) == (1, [])
    assert shares(jobs, [(0, 5)], {QUICK: even, BRIEF: even[:100]}) == (1, [Short(BRIEF, 0, 100, 300)])


def test_a_small_backlog_beside_a_large_one_is_all_due() -> None:
    """Twenty jobs of which none starts while 500 of another type do come short; one that is held up does not."""
    even = {QUICK: [n / 100 for n in range(500)]}
    assert shares(backlog(QUICK, 900) + backlog(BRIEF, 20), [(0, 5)], even) == (1, [Short(BRIEF, 0, 0, 20)])
    assert shares(backlog(QUICK, 900) + backlog(BRIEF, 1), [(0, 5)], even) == (1, [])


def test_what_a_lane_does_not_need_the_others_get() -> None:
    """Starts are dealt evenly, to no lane more than it had."""
    assert dealt(100, {QUICK: 900, BRIEF: 10, ("slow", 0): 900}) == {BRIEF: 10, QUICK: 45, ("slow", 0): 45}


def test_a_lane_whose_jobs_all_start_has_its_share() -> None:
    """A lane without a backlog is not compared: what it did not use, the others got."""
    jobs = [*backlog(QUICK, 900), Job("b", BRIEF, 1, 2)]
    assert shares(jobs, [(0, 5)], {QUICK: [n / 100 for n in range(500)], BRIEF: [2.0]}) == (0, [])
