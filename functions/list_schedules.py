"""`GET /schedules`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, query, rendered
from sweephand.usecases.schedules import read


@endpoint
def list_schedules(request: Request) -> Response:
    """List schedules by name."""
    app.caller(request)
    asked = query(request, "limit", "cursor", "source")
    return rendered(read.list_schedules(app.schedules(), read.SchedulesQuery(**asked)))
