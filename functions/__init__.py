"""The cloud functions, one thin file each: parse, call one use case, render.

A new route is a file here, its name in `NAMES`, and its route in `serverless.yml`, which is the one list of routes:
`sweephand/http/routes.py` holds Python's copy and `tests/deploy/test_one_list.py` holds them together.
"""

from collections.abc import Callable
from importlib import import_module

from werkzeug import Request, Response

NAMES = (
    *("create_job", "create_jobs", "list_jobs", "get_job", "explain_job", "cancel_job"),
    *("put_schedule", "list_schedules", "get_schedule", "patch_schedule", "delete_schedule"),
    *("run_schedule", "backfill_schedule", "list_schedule_jobs"),
    *("health", "openapi", "not_found", "tick"),
)


def load(name: str) -> Callable[[Request], Response]:
    """Return the function of that name; an instance imports, and pays for, no other.

    Raises `AttributeError` for a name that is none.
    """
    if name not in NAMES:
        raise AttributeError(f"no function is named {name}")
    function: Callable[[Request], Response] = getattr(import_module(f"{__name__}.{name}"), name)
    return function
