"""Every function by its name: what Google's builder, `functions-framework --target` and AWS's entry point look for.

A function is imported when it is asked for: no instance pays for the others.
"""

import importlib
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
