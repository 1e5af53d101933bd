"""What no other route matched."""

from werkzeug import Request, Response

from sweephand.domain.errors import MethodNotAllowedError, RouteNotFoundError
from sweephand.http.endpoint import endpoint
from sweephand.http.routes import methods_of


@endpoint
def not_found(request: Request) -> Response:
    """Say 405 with the methods that the path takes, or 404."""
    allowed = methods_of(request.path)
    # A path with slashes too many looks like a route's here, and is none: its method is not what is wrong.
    raise MethodNotAllowedError(allowed) if allowed and request.method not in allowed else RouteNotFoundError
