"""The scheduled function."""

import json
import logging
import os
import threading

from werkzeug import Request, Response

from shared import composition
from shared.usecases.tick.report import Report
from shared.web.endpoint import endpoint, rendered

log = logging.getLogger("minutehand")


@endpoint
def tick(_request: Request) -> Response:
    """Run one tick and answer with its report. Has no public route: the platform says who may call it."""
    report = composition.run(composition.tick())
    log.info("%s", json.dumps(report.json()))
    if report.stuck:
        retire(report)
    return rendered(report.json())


def retire(report: Report) -> None:
    """End this process once the answer is out: a handler that could not be ended still runs in it."""
    log.error("retiring: %d handlers passed their time limit and could not be ended", report.stuck)
    threading.Timer(1.0, os._exit, (1,)).start()
