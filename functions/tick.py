"""The function that the schedule calls."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, rendered

RETIRE_AFTER = 1.0
"""Seconds that the answer has to leave before a process with a stuck handler ends."""


@endpoint
def tick(request: Request) -> Response:
    """Run one tick and answer with its report. It has no public route: the platform decides who may call it.

    The report is also printed, as one line that is one JSON object: Cloud Logging reads its fields, of which
    infra/gcp/watching.tf makes metrics.
    """
    return rendered(app.run_tick(request.get_json(silent=True), retire_after=RETIRE_AFTER).json())
