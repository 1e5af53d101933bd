"""The scheduled function."""

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
    """Run one tick and answer with its report. Has no public route: the platform says who may call it.

    The body `{"drainer": true}` comes from a tick that called for help, `{"triggered": true}` from a function that
    created a job; the schedule's own is anything else.
    """
    body = request.get_json(silent=True)
    said = body if isinstance(body, dict) else {}
    one = app.tick(drainer=said.get("drainer") is True, triggered=said.get("triggered") is True)
    report = app.run(one)
    # One line that is one JSON object: Cloud Logging reads its fields, infra/gcp/watching.tf makes metrics of them.
    sys.stdout.write(json.dumps(report.json()) + "\n")
    sys.stdout.flush()
    if report.stuck:
        retire(report)
    return rendered(report.json())


def retire(report: Report) -> None:
    """End this process once the answer is out: a handler that could not be ended still runs in it."""
    log.error("retiring: %d handlers passed their time limit and could not be ended", report.stuck)
    threading.Timer(1.0, os._exit, (1,)).start()
