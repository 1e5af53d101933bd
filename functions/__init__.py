"""The cloud functions, one file each: parse the request, call one use case, render the answer.

To add a route, add a file here, its route in `serverless.yml`, Python's copy of the route in
`shared/sweephand/http/routes.py`, and its operation in `openapi.py` beside that.
`tests/deploy/test_routes_agree.py` holds these four together.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from werkzeug import Request, Response

_FILES = (path.stem for path in Path(__path__[0]).iterdir())
NAMES = tuple(sorted({name for name in _FILES if not name.startswith("_")}))
"""The name of each function, which is the name of its file."""


def load(name: str) -> Callable[[Request], Response]:
    """Return the function `name`. Only its own module is imported, because each import delays a cold start.

    Raises `AttributeError` when no function has that name.
    """
    if name not in NAMES:
        raise AttributeError(f"no function is named {name}")
    function: Callable[[Request], Response] = getattr(import_module(f"{__name__}.{name}"), name)
    return function
