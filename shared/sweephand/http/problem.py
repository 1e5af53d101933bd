"""Answers errors as RFC 9457 problem details, and gives each error its HTTP status."""

import json

from werkzeug import Response

from sweephand.domain import errors as e

STATUS: dict[type[e.SweephandError], tuple[int, str]] = {
    e.NotJsonError: (400, "Not JSON"),
    e.BodyCutError: (400, "Body cut"),
    e.UnauthorizedError: (401, "Unauthorized"),
    e.JobNotFoundError: (404, "No such job"),
    e.ScheduleNotFoundError: (404, "No such schedule"),
    e.CrossOriginError: (403, "Cross-origin"),
    e.RouteNotFoundError: (404, "Not found"),
    e.MethodNotAllowedError: (405, "Method not allowed"),
    e.TooSlowError: (408, "Too slow"),
    e.NotCancellableError: (409, "Not cancellable"),
    e.ScheduleChangedError: (409, "Schedule changed"),
    e.IdempotencyMismatchError: (409, "Idempotency-Key reused"),
    e.BodyTooLargeError: (413, "Body too large"),
    e.MediaTypeError: (415, "Unsupported media type"),
    e.MisdirectedError: (421, "Misdirected"),
    e.InvalidError: (422, "Invalid"),
    e.RecordUnavailableError: (503, "Record unavailable"),
    e.RecordStatementError: (503, "Record unavailable"),
    e.RecordSetupError: (503, "Record not set up"),
    e.ConfigError: (503, "Not configured"),
}
RETRY_AFTER = 5
"""Seconds that a client should wait after a 503."""
_TYPE = "urn:sweephand:problem:"
"""The beginning of each problem type's URI: a name to compare with, not an address."""
_OPERATORS = (e.RecordUnavailableError, e.RecordSetupError, e.ConfigError)


def problem(error: e.SweephandError) -> Response:
    """Return the answer to a request that ended with `error`.

    The details of an error that only an operator can correct go to the log, not into the body.
    """
    status, title = STATUS.get(type(error), (500, "Internal error"))
    body: dict[str, object] = {
        "type": f"{_TYPE}{title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": (type(error).__doc__ or "").strip() if isinstance(error, _OPERATORS) else str(error),
    }
    if isinstance(error, e.InvalidError):
        body["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in error.faults[:100]]
    if isinstance(error, e.NotCancellableError):
        body["job_status"] = error.status
    response = Response(json.dumps(body), status, mimetype="application/problem+json")
    if isinstance(error, e.MethodNotAllowedError):
        response.headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, e.UnauthorizedError):
        response.headers["WWW-Authenticate"] = 'Bearer realm="sweephand"'
    if isinstance(error, _OPERATORS):
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response
