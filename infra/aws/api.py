"""AWS Lambda's entry to the HTTP functions: `infra.aws.api.create_job` and so on.

Lambda asks for the handler in its init phase, which has a whole processor whatever the function's memory: so what a
first request needs is imported and made then.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from apig_wsgi import make_lambda_handler
from werkzeug import Request

from sweephand import app
from sweephand.domain.errors import SweephandError
from sweephand.layout import module

from .. import aws

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

TEXT = ("text/", "application/json", "application/problem+json")
"""Content types that go out as they are; anything else would be wrapped in base64."""
_DECODED = ("rawPath", "rawQueryString")
_ASCII = "".join(map(chr, range(128)))
NEEDS: Mapping[str, Callable[[], object]] = {
    "create_job": app.creator,
    "create_jobs": app.creator,
    "run_schedule": app.creator,
    "openapi": app.handlers,
    "not_found": lambda: None,
}
"""What a function needs beside its code; the others need the record."""


def __getattr__(name: str) -> Handler:
    """Return the Lambda handler of the function `name` (PEP 562), made ready."""
    function = module("functions").load(name)
    # What is missing or wrong is told to each request, by the same errors.
    with contextlib.suppress(SweephandError):
        NEEDS.get(name, app.record)()
    handler: Handler = make_lambda_handler(Request.application(function), non_binary_content_type_prefixes=TEXT)
    aws.started()
    return lambda event, context: handler(spelled(event), context)


def spelled(event: dict[str, Any]) -> dict[str, Any]:
    """Return a request whose path and query are ASCII, as in HTTP: API Gateway decodes what a path escapes.

    WSGI's paths are bytes spelled as Latin-1, in which most characters have no place.
    """
    parts = {name: quote(str(event.get(name) or ""), safe=_ASCII, errors="replace") for name in _DECODED}
    return {**event, **parts}
