"""Commands that talk to a running API: create, import, list, show, cancel."""

import json
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Column, Table

from .api import LOCAL, AsJson, Key, Url, call, read_json
from .import_jobs import import_

app = typer.Typer(
    no_args_is_help=True,
    help="Create, import, list, show, explain and cancel jobs through an API (SWEEPHAND_URL, SWEEPHAND_API_KEY).",
)

ID_WIDTH = 36
"""Characters of an id, which is shown whole however narrow the terminal: it is there to be copied."""
Id = Annotated[str, typer.Argument(help="The job's id.")]
app.command("import")(import_)


@app.command()
def create(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="The handler to run, such as email_notification.")],
    payload: Annotated[str, typer.Option(help="JSON; @FILE reads a file, - reads standard input.")] = "{}",
    at: Annotated[str | None, typer.Option(help="When, RFC 3339 with offset. Default: now.")] = None,
    priority: Annotated[int | None, typer.Option(help="0 to 9, higher first.")] = None,
    max_retries: Annotated[int | None, typer.Option(help="0 to 100 further attempts.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="Do not start after this time.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Asking again with it creates nothing new.")] = None,
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Create a job and print its id.

    sweephand jobs create generate_pdf --payload @report.json --at 2026-12-24T18:30:00Z
    """
    asked = {
        "type": type_,
        "payload": read_json(payload, "--payload"),
        "scheduled_at": at,
        "priority": priority,
        "max_retries": max_retries,
        "expires_at": expires_at,
    }
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    body = {name: value for name, value in asked.items() if value is not None}
    job = call(url, key, "POST", "/jobs", json=body, headers=headers)
    typer.echo(json.dumps(job) if as_json else job["id"])


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="Only this status.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only this type.")] = None,
    limit: Annotated[int, typer.Option(help="How many, 1 to 200.", min=1, max=200)] = 50,
    cursor: Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")] = None,
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
    """Print one job, whole, as JSON."""
    typer.echo(json.dumps(call(url, key, "GET", f"/jobs/{quote(job_id, safe='')}"), indent=2, ensure_ascii=False))


@app.command()
def explain(job_id: Id, url: Url = LOCAL, key: Key = "", *, as_json: AsJson = False) -> None:
    """Say in words why a job is where it is."""
    said = call(url, key, "GET", f"/jobs/{quote(job_id, safe='')}/explain")
    typer.echo(json.dumps(said) if as_json else "\n".join([f"{said['id']} is {said['status']}", *said["because"]]))


@app.command()
def cancel(job_id: Id, url: Url = LOCAL, key: Key = "", *, as_json: AsJson = False) -> None:
    """Cancel a pending job."""
    job = call(url, key, "PUT", f"/jobs/{quote(job_id, safe='')}/cancel")
    typer.echo(json.dumps(job) if as_json else f"{job['id']} is {job['status']}")
