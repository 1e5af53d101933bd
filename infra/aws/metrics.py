"""A tick's report in CloudWatch's embedded metric format: one log line that is both the report and the metrics.

The format: "Specification: CloudWatch embedded metric format", Amazon CloudWatch User Guide.
"""

from collections.abc import Mapping

from sweephand.domain.json_value import JsonValue

NAMESPACE = "Sweephand"
COUNTS = (
    "claimed",
    "started",
    "completed",
    "retried",
    "failed",
    "skipped",
    "returned",
    "restored",
    "expired_leases",
    "late_writes",
    "stuck",
    "index_errors",
    "unknown_type_count",
)
UNITS: Mapping[str, str] = {
    **dict.fromkeys(COUNTS, "Count"),
    "duration_ms": "Milliseconds",
    "lateness_p50_ms": "Milliseconds",
    "lateness_p99_ms": "Milliseconds",
    "lateness_max_ms": "Milliseconds",
    "oldest_due_age_s": "Seconds",
}
"""Every metric with its unit."""


def embedded(report: Mapping[str, JsonValue], function: str, now_ms: int) -> dict[str, JsonValue]:
    """Return `report` with its metrics, for the function of that name; `now_ms` since 1970.

    A value that is null (no job started, so none was late) is no metric of this line.
    """
    lateness, unknown = report["lateness_ms"], report["unknown_types"]
    line: dict[str, JsonValue] = {**report, "FunctionName": function}
    if isinstance(lateness, dict):
        line |= {f"lateness_{name}_ms": value for name, value in lateness.items()}
    if isinstance(unknown, dict):
        line["unknown_type_count"] = len(unknown)
    metrics: list[JsonValue] = [
        {"Name": name, "Unit": unit} for name, unit in UNITS.items() if isinstance(line.get(name), int | float)
    ]
    directive: JsonValue = {"Namespace": NAMESPACE, "Dimensions": [["FunctionName"]], "Metrics": metrics}
    return {"_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]}, **line}
