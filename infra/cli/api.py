"""How the command line calls a running API."""

import os
from collections.abc import Mapping
from typing import Annotated

import httpx
import typer

from sweephand.domain.errors import ConfigError

Url = Annotated[str, typer.Option(envvar="SWEEPHAND_URL", help="Where the API is.")]
Key = Annotated[str, typer.Option(envvar="SWEEPHAND_API_KEY", help="The API key.", show_default=False)]
LOCAL = "http://127.0.0.1:8080"


def colour(name: str) -> str | None:
    """Return the colour to print in: none where NO_COLOR says so (no-color.org)."""
    return None if os.environ.get("NO_COLOR") else name


def headers_of(key: str) -> Mapping[str, str]:
    """Return what names the caller; raises `ConfigError` without a key."""
    if not key:
        raise ConfigError("SWEEPHAND_API_KEY is not set (`sweephand dev` takes dev-key).")
    return {"Authorization": f"Bearer {key}"}


def told(answer: httpx.Response) -> str:
    """Return the problem that an answer tells, a line for each fault."""
    try:
        said = answer.json()
        lines = [f"{answer.status_code} {said['title']}: {said['detail']}"]
        lines += [f"  {fault['pointer']}: {fault['detail']}" for fault in said.get("errors", [])]
    except (ValueError, KeyError, TypeError):
        lines = [f"{answer.status_code}: {answer.text[:500]}"]
    return "\n".join(lines)
