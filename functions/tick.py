"""The function that the schedule calls."""

import json
import logging
import os
import sys
import threading

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, rendered
from sweephand.usecases.tick.report import Report

log = logging.getLogger("sweephand")


@endpoint
def tick(request: Request) -> Response:
    """Run one tick and answer with its report. It has no public route: the platform decides who may call it.

    The body is `{"drainer": true}` from a tick that starts further drainers, and `{"woken": true}` from a new job.
    The schedule sends anything else.
    """
    body = request.get_json(silent=True)
    sender = body if isinstance(body, dict) else {}
    one = app.tick(drainer=sender.get("drainer") is True, woken=sender.get("woken") is True)
    report = app.run(one)
    # One line with one JSON object: Cloud Logging reads its fields, infra/gcp/watching.tf makes metrics of them.
    sys.stdout.write(json.dumps(report.json()) + "\n")
    sys.stdout.flush()
    if report.stuck:
        retire(report)
    return rendered(report.json())


def retire(report: Report) -> None:
    """End this process once the answer is out: a handler that nothing could stop still runs in it."""
    log.error("retiring: %d handlers passed their time limit and could not be stopped", report.stuck)
    threading.Timer(1.0, os._exit, (1,)).start()
