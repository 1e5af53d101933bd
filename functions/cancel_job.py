"""`PUT /jobs/{id}/cancel`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, job_id, rendered
from sweephand.usecases.cancel import cancel


@endpoint
def cancel_job(request: Request) -> Response:
    """Cancel a pending job."""
    app.caller(request)
    return rendered(cancel(app.record(), job_id(request)))
