"""`GET /jobs/{id}/explain`."""

from werkzeug import Request, Response

from shared import composition
from shared.usecases.explain import explain
from shared.web.endpoint import endpoint, job_id, rendered


@endpoint
def explain_job(request: Request) -> Response:
    """Say in words why a job is where it is."""
    composition.caller(request)
    return rendered(explain(composition.record(), composition.index(), job_id(request)))
