"""`GET /schedules/{name}/jobs`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, path_part, query, rendered
from sweephand.usecases.schedules import read


@endpoint
def list_schedule_jobs(request: Request) -> Response:
    """List the jobs that a schedule made, latest created first."""
    app.caller(request)
    name, asked = path_part(request), query(request, "limit", "cursor")
    return rendered(read.list_jobs(app.schedules(), name, asked.get("limit"), asked.get("cursor")))
