"""`GET /jobs`."""

from werkzeug import Request, Response

from shared import composition
from shared.usecases import read
from shared.web.endpoint import endpoint, query, rendered


@endpoint
def list_jobs(request: Request) -> Response:
    """List jobs, latest created first."""
    composition.caller(request)
    asked = read.ListRequest(**query(request, "status", "type", "limit", "cursor"))
    return rendered(read.list_jobs(composition.record(), asked))
