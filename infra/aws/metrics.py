"""A tick's report in CloudWatch's embedded metric format: one log line that is both the report and the metrics.

The format: "Specification: CloudWatch embedded metric format", Amazon CloudWatch User Guide.
"""

from collections.abc import Mapping

from sweephand.domain.json_value import JsonValue
from sweephand.usecases.tick.report import METRICS

NAMESPACE = "Sweephand"


def embedded(report: Mapping[str, JsonValue], function: str, now_ms: int) -> dict[str, JsonValue]:
    """Return `report` with its metrics, for the function of that name; `now_ms` since 1970.

    A value that is null (no job started, so none was late) is no metric of this line.
    """
    lateness = report["lateness_ms"]
    line: dict[str, JsonValue] = {**report, "FunctionName": function}
    if isinstance(lateness, dict):
        line |= {f"lateness_{name}_ms": value for name, value in lateness.items()}
    metrics: list[JsonValue] = [
        {"Name": name, "Unit": unit} for name, unit in METRICS.items() if isinstance(line.get(name), int | float)
    ]
    directive: JsonValue = {"Namespace": NAMESPACE, "Dimensions": [["FunctionName"]], "Metrics": metrics}
    return {"_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]}, **line}
