"""`PUT /jobs/{id}/cancel`."""

from werkzeug import Request, Response

from shared import composition
from shared.usecases.cancel import cancel
from shared.web.endpoint import endpoint, job_id, rendered


@endpoint
def cancel_job(request: Request) -> Response:
    """Cancel a pending job."""
    composition.caller(request)
    return rendered(cancel(composition.record(), job_id(request)))
