"""`POST /jobs`."""

from werkzeug import Request, Response

from shared import composition
from shared.web.endpoint import endpoint, json_body, rendered


@endpoint
def create_job(request: Request) -> Response:
    """Create a job: 201 once it is committed."""
    caller = composition.caller(request)
    job, replayed = composition.creator()(json_body(request), caller.name, request.headers.get("Idempotency-Key"))
    headers = {"Location": f"/jobs/{job['id']}"} | ({"Idempotency-Replayed": "true"} if replayed else {})
    return rendered(job, 201, **headers)
