"""What no other route matched."""

from werkzeug import Request, Response

from shared.domain.errors import MethodNotAllowedError, RouteNotFoundError
from shared.web.endpoint import endpoint
from shared.web.routes import methods_of


@endpoint
def not_found(request: Request) -> Response:
    """Say 405 with the methods that the path takes, or 404."""
    allowed = methods_of(request.path)
    # A path with slashes too many looks like a route's here, and is none: its method is not what is wrong.
    raise MethodNotAllowedError(allowed) if allowed and request.method not in allowed else RouteNotFoundError
