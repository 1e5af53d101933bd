"""What no other route matched."""

from werkzeug import Request, Response

from shared.domain.errors import MethodNotAllowedError, RouteNotFoundError
from shared.web.endpoint import endpoint
from shared.web.routes import methods_of


@endpoint
def not_found(request: Request) -> Response:
    """Say 405 with the methods that the path takes, or 404."""
    allowed = methods_of(request.path)
    raise MethodNotAllowedError(allowed) if allowed else RouteNotFoundError
