"""`POST /schedules/{name}/backfill`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, json_body, path_part, rendered
from sweephand.usecases.schedules.make import backfill


@endpoint
def backfill_schedule(request: Request) -> Response:
    """Make jobs of a schedule's fires in a range of the past; `next` says where to go on."""
    app.caller(request)
    return rendered(backfill(app.schedules(), app.handlers(), path_part(request), json_body(request)))
