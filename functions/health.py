"""`GET /health`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, rendered


@endpoint
def health(_request: Request) -> Response:
    """Answer 200 when the record does. Needs no key and tells nothing but that."""
    app.record().health()
    return rendered({"status": "ok"})
