"""`POST /jobs/batch`."""

from werkzeug import Request, Response

from shared import composition
from shared.web.endpoint import MAX_BATCH, endpoint, json_body, rendered


@endpoint
def create_jobs(request: Request) -> Response:
    """Create many jobs, all or none: 201 once they are committed."""
    caller = composition.caller(request)
    body = json_body(request, MAX_BATCH)
    jobs, replayed = composition.creator().batch(body, caller.name, request.headers.get("Idempotency-Key"))
    return rendered({"jobs": jobs}, 201, **({"Idempotency-Replayed": "true"} if replayed else {}))
