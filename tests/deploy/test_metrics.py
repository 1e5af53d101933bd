"""The tick's report in CloudWatch's embedded metric format."""

from typing import Any

from infra.aws.metrics import embedded
from sweephand.usecases.tick.report import METRICS, Report


def test_a_full_report_carries_every_metric() -> None:
    """Every metric is in the line once jobs were started, under the name that the directive gives."""
    report = Report()
    report.lateness.add(1234)
    line: Any = embedded(report.json(), "sweephand-prod-tick", 1_700_000_000_000)
    directive = line["_aws"]["CloudWatchMetrics"][0]
    assert {metric["Name"] for metric in directive["Metrics"]} == set(METRICS)
    assert line["lateness_max_ms"] == 1234
    assert line["_aws"]["Timestamp"] == 1_700_000_000_000


def test_an_empty_report_leaves_out_what_it_does_not_know() -> None:
    """Where no job was started there is no lateness, and its metrics are not announced; counts are 0."""
    line: Any = embedded(Report().json(), "tick", 0)
    names = {metric["Name"] for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert not {name for name in names if name.startswith("lateness")}
    assert {name for name, unit in METRICS.items() if unit == "Count"} <= names


def test_unknown_types_are_counted() -> None:
    """Types that are due and have no handler are told by name in the report, and counted as a metric."""
    line: Any = embedded(Report(unknown_types={"a": 1.0, "b": 2.0}, unknown_types_count=2).json(), "tick", 0)
    assert line["unknown_types_count"] == 2
    assert line["unknown_types"] == {"a": 1.0, "b": 2.0}
