"""`GET /health`."""

from werkzeug import Request, Response

from shared import composition
from shared.web.endpoint import endpoint, rendered


@endpoint
def health(_request: Request) -> Response:
    """Answer 200 when the record does. Needs no key and tells nothing but that."""
    composition.record().health()
    return rendered({"status": "ok"})
