"""Python's copy of the routes in `serverless.yml`, for the OpenAPI document and the `Allow` header."""

import re
from collections.abc import Mapping

ROUTES: Mapping[tuple[str, str], str] = {
    ("POST", "/jobs"): "create_job",
    ("POST", "/jobs/batch"): "create_jobs",
    ("GET", "/jobs"): "list_jobs",
    ("GET", "/jobs/{id}"): "get_job",
    ("GET", "/jobs/{id}/explain"): "explain_job",
    ("PUT", "/jobs/{id}/cancel"): "cancel_job",
    ("POST", "/schedules"): "put_schedule",
    ("GET", "/schedules"): "list_schedules",
    ("GET", "/schedules/{name}"): "get_schedule",
    ("PATCH", "/schedules/{name}"): "patch_schedule",
    ("DELETE", "/schedules/{name}"): "delete_schedule",
    ("POST", "/schedules/{name}/run"): "run_schedule",
    ("POST", "/schedules/{name}/backfill"): "backfill_schedule",
    ("GET", "/schedules/{name}/jobs"): "list_schedule_jobs",
    ("GET", "/health"): "health",
    ("GET", "/openapi.json"): "openapi",
}
"""The function of each route. `tests/deploy/test_routes_agree.py` holds this copy to `serverless.yml`."""


def methods_of(path: str) -> tuple[str, ...]:
    """Return the methods that `path` takes, none when it is no route. `/jobs/batch` is not the path of a job.

    Each path that takes GET takes HEAD, and each takes OPTIONS (RFC 9110, section 9.1).
    """
    exact = tuple(method for (method, route) in ROUTES if route == path)
    methods = exact or tuple(method for (method, route) in ROUTES if _matches(route, path))
    return (*methods, *(("HEAD",) if "GET" in methods else ()), "OPTIONS") if methods else ()


def _matches(route: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.replace(".", r"\.")), path) is not None
