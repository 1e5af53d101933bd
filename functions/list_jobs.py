"""`GET /jobs`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, query, rendered
from sweephand.usecases import read


@endpoint
def list_jobs(request: Request) -> Response:
    """List jobs, latest created first."""
    app.caller(request)
    wanted = read.ListRequest(**query(request, "status", "type", "limit", "cursor"))
    return rendered(read.list_jobs(app.record(), wanted))
