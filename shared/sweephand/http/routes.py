"""The routes, as they are documented, deployed and told to a caller of something else."""

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
"""What the document describes. `serverless.yml` deploys the routes; a test holds the two to one another."""


def methods_of(path: str) -> tuple[str, ...]:
    """Return the methods that `path` takes; none for a path that is not ours. `/jobs/batch` is no job's path.

    What takes GET takes HEAD, and everything takes OPTIONS (RFC 9110, section 9.1).
    """
    exact = tuple(method for (method, route) in ROUTES if route == path)
    methods = exact or tuple(method for (method, route) in ROUTES if _matches(route, path))
    return (*methods, *(("HEAD",) if "GET" in methods else ()), "OPTIONS") if methods else ()


def _matches(route: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.replace(".", r"\.")), path) is not None
