"""`GET /jobs/{id}/explain`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, job_id, rendered
from sweephand.usecases.explain import explain


@endpoint
def explain_job(request: Request) -> Response:
    """Explain in words why a job is in its state."""
    app.caller(request)
    return rendered(explain(app.record(), app.index(), job_id(request)))
