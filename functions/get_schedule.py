"""`GET /schedules/{name}`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, path_part, rendered
from sweephand.usecases.schedules import read


@endpoint
def get_schedule(request: Request) -> Response:
    """Return one schedule, when it fires next, and what it has made and skipped."""
    app.caller(request)
    return rendered(read.get(app.schedules(), path_part(request)))
