"""`GET /openapi.json`."""

from werkzeug import Request, Response

from shared import composition
from shared.web.endpoint import endpoint, rendered
from shared.web.openapi import document


@endpoint
def openapi(_request: Request) -> Response:
    """Return the OpenAPI document of this deployment, its handlers' payloads included."""
    return rendered(document(composition.handlers()))
