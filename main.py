"""Every function by its name: what Google's builder and `functions-framework --target` look for."""

from functions.cancel_job import cancel_job
from functions.create_job import create_job
from functions.get_job import get_job
from functions.health import health
from functions.list_jobs import list_jobs
from functions.not_found import not_found
from functions.openapi import openapi
from functions.tick import tick

__all__ = ["cancel_job", "create_job", "get_job", "health", "list_jobs", "not_found", "openapi", "tick"]
