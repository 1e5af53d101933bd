"""`POST /schedules`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, json_body, query, rendered
from sweephand.ports.schedules import PutOutcome
from sweephand.usecases.schedules import change


@endpoint
def put_schedule(request: Request) -> Response:
    """Make a schedule, 201, or replace the one of its name, 200; the same body again changes nothing."""
    app.caller(request)
    source = query(request, "source").get("source")
    schedule, outcome = change.put(app.schedules(), app.handlers(), json_body(request), source)
    status = 201 if outcome is PutOutcome.CREATED else 200
    return rendered(schedule, status, Location=f"/schedules/{schedule['name']}")
