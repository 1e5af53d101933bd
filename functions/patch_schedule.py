"""`PATCH /schedules/{name}`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, json_body, path_part, rendered
from sweephand.usecases.schedules import change


@endpoint
def patch_schedule(request: Request) -> Response:
    """Change the fields of a schedule that the body names; pause and resume it."""
    app.caller(request)
    return rendered(change.patch(app.schedules(), app.handlers(), path_part(request), json_body(request)))
