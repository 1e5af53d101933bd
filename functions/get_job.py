"""`GET /jobs/{id}`."""

from werkzeug import Request, Response

from shared import composition
from shared.usecases import read
from shared.web.endpoint import endpoint, job_id, rendered


@endpoint
def get_job(request: Request) -> Response:
    """Return one job with its payload, errors and result."""
    composition.caller(request)
    return rendered(read.get(composition.record(), job_id(request)))
