"""How the command line calls a running API."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from sweephand.domain.errors import ConfigError, SweephandError

Url = Annotated[str, typer.Option(envvar="SWEEPHAND_URL", help="Where the API is.")]
Key = Annotated[str, typer.Option(envvar="SWEEPHAND_API_KEY", help="The API key.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's own JSON.")]
LOCAL = "http://127.0.0.1:8080"


def colour(name: str) -> str | None:
    """Return the colour to print in: none where NO_COLOR says so (no-color.org)."""
    return None if os.environ.get("NO_COLOR") else name


def headers_of(key: str) -> Mapping[str, str]:
    """Return what names the caller; raises `ConfigError` without a key."""
    if not key:
        raise ConfigError("SWEEPHAND_API_KEY is not set (`sweephand dev` takes dev-key).")
    return {"Authorization": f"Bearer {key}"}


def call(url: str, key: str, method: str, path: str, **kwargs: Any) -> Any:
    """Return the API's answer; raises `SweephandError` with the problem it told."""
    headers = {**headers_of(key), **kwargs.pop("headers", {})}
    try:
        answer = httpx.request(method, url.rstrip("/") + path, headers=headers, timeout=30, **kwargs)
    except httpx.HTTPError as e:
        raise SweephandError(f"{url} does not answer: {e}") from e
    if answer.is_success:
        return answer.json()
    raise ApiError(answer.status_code, told(answer))


class ApiError(SweephandError):
    """The API answered with a problem."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def read_json(text: str, option: str) -> Any:
    """Return the JSON in `text`, in the file after an @, or for - in standard input; raises `ConfigError`."""
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except OSError as e:
            raise ConfigError(f"{option}: {e}") from e
    try:
        return json.loads(text)
    except ValueError as e:
        raise ConfigError(f"{option} is not JSON: {e}") from e


def told(answer: httpx.Response) -> str:
    """Return the problem that an answer tells, a line for each fault."""
    try:
        said = answer.json()
        lines = [f"{answer.status_code} {said['title']}: {said['detail']}"]
        lines += [f"  {fault['pointer']}: {fault['detail']}" for fault in said.get("errors", [])]
    except (ValueError, KeyError, TypeError):
        lines = [f"{answer.status_code}: {answer.text[:500]}"]
    return "\n".join(lines)
