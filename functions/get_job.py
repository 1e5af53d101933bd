"""`GET /jobs/{id}`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, job_id, rendered
from sweephand.usecases import read


@endpoint
def get_job(request: Request) -> Response:
    """Return one job with its payload, errors and result."""
    app.caller(request)
    return rendered(read.get(app.record(), job_id(request)))
