"""`POST /jobs/batch`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import MAX_BATCH, endpoint, json_body, rendered


@endpoint
def create_jobs(request: Request) -> Response:
    """Create many jobs, all or none. Answers 201 once the jobs are committed."""
    caller = app.caller(request)
    body = json_body(request, MAX_BATCH)
    jobs, replayed = app.creator().batch(body, caller.name, request.headers.get("Idempotency-Key"))
    return rendered({"jobs": jobs}, 201, **({"Idempotency-Replayed": "true"} if replayed else {}))
