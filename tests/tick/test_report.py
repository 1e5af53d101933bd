"""What a tick says it did."""

import json
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from sweephand.usecases.tick.report import Lateness, Report


def counted(late: list[int]) -> Lateness:
    """Return the lateness of these starts."""
    lateness = Lateness()
    for one in late:
        lateness.add(one)
    return lateness


@given(st.lists(st.integers(0, 999), min_size=1))
def test_percentiles_are_exact_below_a_second(late: list[int]) -> None:
    """p50 and p99 are starts that were seen: the nearest rank."""
    ordered = sorted(late)
    at = {share: ordered[ceil(share * len(late)) - 1] for share in (0.50, 0.99)}
    assert counted(late).percentiles() == {"p50": at[0.50], "p99": at[0.99], "max": ordered[-1]}


@given(st.lists(st.integers(0, 10**10), min_size=1))
def test_percentiles_are_good_to_three_digits(late: list[int]) -> None:
    """Above a second p50 and p99 are rounded down by less than a hundredth; the maximum never is."""
    ordered = sorted(late)
    said = counted(late).percentiles()
    for name, share in (("p50", 0.50), ("p99", 0.99)):
        exact, told = ordered[ceil(share * len(late)) - 1], said[name]
        assert isinstance(told, int)
        assert exact * 0.99 <= told <= exact
    assert said["max"] == ordered[-1]


def test_room_is_bounded() -> None:
    """A tick of any number of starts keeps at most 900 counters for each power of ten."""
    assert len(counted(list(range(0, 1_000_000, 7))).counts) <= 1_000 + 3 * 900


def test_nothing_started_has_no_lateness() -> None:
    """A tick that started nothing says null, not 0."""
    assert counted([]).percentiles() == {"p50": None, "p99": None, "max": None}


def test_report_is_one_json_object() -> None:
    """Every field of the report, empty or not, is JSON."""
    report = Report(oldest_due_age_s_by_priority={9: 1.5}, unknown_types={"old": 3.0})
    said = json.loads(json.dumps(report.json()))
    assert {
        "claimed", "started", "completed", "retried", "failed", "skipped", "released", "restored",
        "expired_leases", "budget_ms", "duration_ms", "stopped", "oldest_due_age_s", "lateness_ms",
    } <= set(said)  # fmt: skip
    assert said["oldest_due_age_s_by_priority"] == {"9": 1.5}
    assert said["unknown_types"] == {"old": 3.0}
