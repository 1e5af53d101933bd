"""The part that all HTTP functions share: checks of the request, errors as problems, the answer.

functions-framework passes a request of Flask, which is also a request of Werkzeug. We use nothing else of Flask, so
a function on AWS, where Lambda is the server, starts without it (CONTRIBUTING.md).
"""

import functools
import json
import logging
from collections.abc import Callable
from uuid import UUID

from werkzeug import Request, Response

from sweephand.domain.errors import (
    BodyCutError,
    BodyTooLargeError,
    ConfigError,
    FieldError,
    InvalidError,
    JobNotFoundError,
    MediaTypeError,
    MethodNotAllowedError,
    NotJsonError,
    RecordSetupError,
    RecordUnavailableError,
    SweephandError,
)
from sweephand.domain.json_value import JsonValue, parse
from sweephand.http import cors
from sweephand.http.problem import problem
from sweephand.http.routes import methods_of

log = logging.getLogger("sweephand")
MAX_BODY = 256 * 1024
"""Most bytes of a request's body."""
MAX_BATCH = 4 * 1024 * 1024
"""Most bytes of a batch's body."""

View = Callable[[Request], Response]


def endpoint(view: View) -> View:
    """Have `view` answer each error of ours as a problem, and any other as a 500 without details."""

    @functools.wraps(view)
    def answer(request: Request) -> Response:
        if request.method == "OPTIONS" and (methods := methods_of(request.path)):
            return cors.allow(request, Response(status=204, headers={"Allow": ", ".join(methods)}), methods)
        return cors.allow(request, handled(request))

    def handled(request: Request) -> Response:
        try:
            return view(request)
        except SweephandError as e:
            if isinstance(e, RecordUnavailableError | RecordSetupError | ConfigError):
                log.error("%s: %s", view.__name__, e)  # noqa: TRY400 - the message is enough
            return problem(e)
        except Exception:
            log.exception("%s failed", view.__name__)
            return problem(SweephandError())

    return answer


def json_body(request: Request, limit: int = MAX_BODY) -> JsonValue:
    """Return the request's JSON body, of at most `limit` bytes.

    Raises `MediaTypeError`, `BodyTooLargeError`, `BodyCutError`, `NotJsonError`, `InvalidError`.
    """
    if request.mimetype != "application/json":
        raise MediaTypeError
    if (request.content_length or 0) > limit:
        raise BodyTooLargeError(limit)
    try:
        body = request.stream.read(limit + 1)
    except Exception as e:  # each server raises its own errors for a body that breaks HTTP
        raise BodyCutError from e
    if len(body) > limit:
        raise BodyTooLargeError(limit)
    if len(body) < (request.content_length or 0):
        raise BodyCutError
    if not body:
        raise NotJsonError("The body is empty.")
    return parse(body)


def query(request: Request, *names: str) -> dict[str, str]:
    """Return the query's parameters. Raises `InvalidError` for an unknown or a repeated parameter."""
    faults = [FieldError(name, "no such parameter") for name in request.args if name not in names]
    faults += [FieldError(name, "given twice") for name in names if len(request.args.getlist(name)) > 1]
    if faults:
        raise InvalidError(faults)
    return {name: request.args[name] for name in names if name in request.args}


def job_id(request: Request) -> UUID:
    """Return the `{id}` of a path that begins with `/jobs/{id}`; a function gets the path as a whole.

    Raises `JobNotFoundError` for a text that is no UUID, which no job can have, and `MethodNotAllowedError` for the
    path of another route that lacks this method, such as `/jobs/batch`.
    """
    allowed = methods_of(request.path)
    if allowed and request.method not in allowed:
        raise MethodNotAllowedError(allowed)
    parts = request.path.split("/")
    text = parts[2] if len(parts) > 2 else ""  # noqa: PLR2004 - "", "jobs", id
    try:
        found = UUID(text)
    except ValueError as e:
        raise JobNotFoundError from e
    if str(found) != text.lower():  # `UUID` also takes braces, `urn:uuid:` and digits without hyphens
        raise JobNotFoundError
    return found


def path_part(request: Request) -> str:
    """Return what stands for `{name}` in the path of `/schedules/{name}` and of what follows it."""
    parts = request.path.split("/")
    return parts[2] if len(parts) > 2 else ""  # noqa: PLR2004 - "", "schedules", name


def rendered(body: object, status: int = 200, **headers: str) -> Response:
    """Return `body` as a JSON response."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    response = Response(text, status, mimetype="application/json")
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response
