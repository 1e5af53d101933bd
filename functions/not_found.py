"""The answer to a request that no route matches."""

from werkzeug import Request, Response

from sweephand.domain.errors import MethodNotAllowedError, RouteNotFoundError
from sweephand.http.endpoint import endpoint
from sweephand.http.routes import methods_of


@endpoint
def not_found(request: Request) -> Response:
    """Answer 405 with the methods that the path takes, else 404."""
    allowed = methods_of(request.path)
    # A path with too many slashes may match a route here, but it is no route: the path is wrong, not the method.
    raise MethodNotAllowedError(allowed) if allowed and request.method not in allowed else RouteNotFoundError
