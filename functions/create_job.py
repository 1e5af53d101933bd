"""`POST /jobs`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, json_body, rendered


@endpoint
def create_job(request: Request) -> Response:
    """Create a job. Answers 201 once the job is committed."""
    caller = app.caller(request)
    job, replayed = app.creator()(json_body(request), caller.name, request.headers.get("Idempotency-Key"))
    headers = {"Location": f"/jobs/{job['id']}"} | ({"Idempotency-Replayed": "true"} if replayed else {})
    return rendered(job, 201, **headers)
