"""`GET /openapi.json`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, rendered
from sweephand.http.openapi import document


@endpoint
def openapi(_request: Request) -> Response:
    """Return the OpenAPI document of this deployment, with the payloads of its handlers."""
    return rendered(document(app.handlers()))
