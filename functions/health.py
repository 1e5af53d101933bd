"""`GET /health`."""

from werkzeug import Request, Response

from sweephand import app
from sweephand.http.endpoint import endpoint, rendered


@endpoint
def health(_request: Request) -> Response:
    """Answer 200 when the record answers. Needs no key, and discloses nothing else."""
    app.record().health()
    return rendered({"status": "ok"})
