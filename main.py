"""Every function by its name: what Google's builder and `functions-framework --target` look for."""

import sys
from collections.abc import Callable

from werkzeug import Request, Response

from sweephand.layout import module


def __getattr__(name: str) -> Callable[[Request], Response]:
    """Return the function of that name (PEP 562)."""
    function: Callable[[Request], Response] = module("functions").load(name)
    return function


def not_routed(_error: Exception) -> Response:
    """Answer as for any unknown path where functions-framework itself turns one away: it has a line break, say."""
    from sweephand.domain.errors import RouteNotFoundError  # noqa: PLC0415 - seldom needed
    from sweephand.http.problem import problem  # noqa: PLC0415 - likewise

    return problem(RouteNotFoundError())


if (framework := sys.modules.get("functions_framework")) is not None:  # it loads this file, once for each function
    framework.errorhandler(404)(not_routed)
