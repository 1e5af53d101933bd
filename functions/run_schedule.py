"""`POST /schedules/{name}/run`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, path_part, rendered


@endpoint
def run_schedule(request: Request) -> Response:
    """Make a job of a schedule now, beside its fires: 201 once it is committed."""
    caller = app.caller(request)
    name, key = path_part(request), request.headers.get("Idempotency-Key")
    named = None if key is None else (caller.name, key)
    job, replayed = app.schedule_runner()(name, named)
    headers = {"Location": f"/jobs/{job['id']}"} | ({"Idempotency-Replayed": "true"} if replayed else {})
    return rendered(job, 201, **headers)
