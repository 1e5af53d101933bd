"""`DELETE /schedules/{name}`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.domain.errors import FieldError, InvalidError
from sweephand.http.endpoint import endpoint, path_part, query, rendered
from sweephand.usecases.schedules import change


@endpoint
def delete_schedule(request: Request) -> Response:
    """Delete a schedule; `?jobs=cancel` cancels what it made and has not started."""
    app.caller(request)
    jobs = query(request, "jobs").get("jobs", "keep")
    if jobs not in ("keep", "cancel"):
        raise InvalidError([FieldError("jobs", "must be keep or cancel")])
    cancelled = change.delete(app.schedules(), path_part(request), cancel=jobs == "cancel")
    return rendered({"deleted": True, "cancelled": cancelled})
