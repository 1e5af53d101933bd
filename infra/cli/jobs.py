"""`sweephand jobs`: commands that call a running API; `import_jobs.py` and `schedules.py` have more."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Column, Table

from sweephand.domain.errors import ConfigError, SweephandError

app = typer.Typer(
    no_args_is_help=True,
    help="Create, import, list, show, explain and cancel jobs through an API (SWEEPHAND_URL, SWEEPHAND_API_KEY).",
)

LOCAL = "http://127.0.0.1:8080"
"""Where `sweephand dev` serves the API."""
ID_WIDTH = 36
"""Characters of an id. A narrow terminal shows them all too, so that people can copy it."""
Url = Annotated[str, typer.Option(envvar="SWEEPHAND_URL", help="The API's address.")]
Key = Annotated[str, typer.Option(envvar="SWEEPHAND_API_KEY", help="The API key.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's own JSON.")]
Id = Annotated[str, typer.Argument(help="The job's id.")]


@app.command()
def create(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="The handler to run, such as email_notification.")],
    payload: Annotated[str, typer.Option(help="JSON; @FILE reads a file, - reads standard input.")] = "{}",
    at: Annotated[str | None, typer.Option(help="When it is due, RFC 3339 with offset. Default: now.")] = None,
    priority: Annotated[int | None, typer.Option(help="0 to 9, higher first.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="0 to 100 further attempts.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="Do not start after this time.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="A second request with the same key creates no second job.")
    ] = None,
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Create a job and print its id.

    sweephand jobs create generate_pdf --payload @report.json --at 2026-12-24T18:30:00Z
    """
    fields = {
        "type": type_,
        "payload": read_json(payload, "--payload"),
        "scheduled_at": at,
        "priority": priority,
        "max_retries": max_retries,
        "expires_at": expires_at,
    }
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    body = {name: value for name, value in fields.items() if value is not None}
    job = call(url, key, "POST", "/jobs", json=body, headers=headers)
    typer.echo(json.dumps(job) if as_json else job["id"])


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="Only this status.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only this type.")] = None,
    limit: Annotated[int, typer.Option(help="How many, 1 to 200.", min=1, max=200)] = 50,
    cursor: Annotated[str | None, typer.Option(help="`next_cursor` of the previous page.")] = None,
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: AsJson = False,
) -> None:
    """List jobs, latest created first."""
    params = {"status": status, "type": type_, "limit": limit, "cursor": cursor}
    page = call(url, key, "GET", "/jobs", params={name: v for name, v in params.items() if v is not None})
    if as_json:
        typer.echo(json.dumps(page))
        return
    table = Table(Column("id", no_wrap=True, min_width=ID_WIDTH), "type", "status", "attempt", "run_at", "reason")
    for job in page["jobs"]:
        table.add_row(
            job["id"], job["type"], job["status"], str(job["attempt"]), job["run_at"], job["reason"] or ""
        )
    Console().print(table)
    if page["next_cursor"]:
        typer.echo(f"more: --cursor {page['next_cursor']}")


@app.command()
def show(job_id: Id, url: Url = LOCAL, key: Key = "") -> None:
    """Print one job in full, as JSON."""
    typer.echo(json.dumps(call(url, key, "GET", f"/jobs/{quote(job_id, safe='')}"), indent=2, ensure_ascii=False))


@app.command()
def explain(job_id: Id, url: Url = LOCAL, key: Key = "", *, as_json: AsJson = False) -> None:
    """Explain in words why a job is in its state."""
    answer = call(url, key, "GET", f"/jobs/{quote(job_id, safe='')}/explain")
    lines = [f"{answer['id']} is {answer['status']}", *answer["because"]]
    typer.echo(json.dumps(answer) if as_json else "\n".join(lines))


@app.command()
def cancel(job_id: Id, url: Url = LOCAL, key: Key = "", *, as_json: AsJson = False) -> None:
    """Cancel a pending job."""
    job = call(url, key, "PUT", f"/jobs/{quote(job_id, safe='')}/cancel")
    typer.echo(json.dumps(job) if as_json else f"{job['id']} is {job['status']}")


def read_json(text: str, option: str) -> Any:
    """Return the JSON in `text`, in the file after an @, or for - in standard input. Raises `ConfigError`."""
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


class ApiError(SweephandError):
    """The API answered with a problem."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def call(url: str, key: str, method: str, path: str, **kwargs: Any) -> Any:
    """Return the body of the API's answer. Raises `SweephandError` with the problem that it describes."""
    headers = {**authorization(key), **kwargs.pop("headers", {})}
    try:
        answer = httpx.request(method, url.rstrip("/") + path, headers=headers, timeout=30, **kwargs)
    except httpx.HTTPError as e:
        raise SweephandError(f"{url} does not answer: {e}") from e
    if answer.is_success:
        return answer.json()
    raise ApiError(answer.status_code, problem_text(answer))


def authorization(key: str) -> Mapping[str, str]:
    """Return the headers that carry the API key. Raises `ConfigError` without a key."""
    if not key:
        raise ConfigError("SWEEPHAND_API_KEY is not set (`sweephand dev` takes dev-key).")
    return {"Authorization": f"Bearer {key}"}


def problem_text(answer: httpx.Response) -> str:
    """Return the problem that an answer describes: one line, and one more for each wrong field."""
    try:
        problem = answer.json()
        lines = [f"{answer.status_code} {problem['title']}: {problem['detail']}"]
        lines += [f"  {error['pointer']}: {error['detail']}" for error in problem.get("errors", [])]
    except (ValueError, KeyError, TypeError):
        lines = [f"{answer.status_code}: {answer.text[:500]}"]
    return "\n".join(lines)
