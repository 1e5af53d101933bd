"""Every function by its name: what Google's builder, `functions-framework --target` and AWS's entry point look for.

A function is imported when it is asked for: no instance pays for the others.
"""

import importlib
import sys
from collections.abc import Callable

from werkzeug import Request, Response

FUNCTIONS = (
    *("create_job", "create_jobs", "list_jobs", "get_job", "explain_job", "cancel_job"),
    *("health", "openapi", "not_found", "tick"),
)


def __getattr__(name: str) -> Callable[[Request], Response]:
    """Return the function of that name (PEP 562)."""
    if name not in FUNCTIONS:
        raise AttributeError(f"no function is named {name}")
    function: Callable[[Request], Response] = getattr(importlib.import_module(f"functions.{name}"), name)
    return function


def not_routed(_error: Exception) -> Response:
    """Answer as for any unknown path where functions-framework itself turns one away: it has a line break, say."""
    from shared.domain.errors import RouteNotFoundError  # noqa: PLC0415 - seldom needed
    from shared.web.problem import problem  # noqa: PLC0415 - likewise

    return problem(RouteNotFoundError())


if (framework := sys.modules.get("functions_framework")) is not None:  # it loads this file, once for each function
    framework.errorhandler(404)(not_routed)
