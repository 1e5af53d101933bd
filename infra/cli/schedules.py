"""Commands that talk to a running API about schedules."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from .apply_schedules import apply
from .jobs import LOCAL, AsJson, Key, Url, call, read_json

app = typer.Typer(
    no_args_is_help=True,
    help="Make, list, change, run and backfill schedules through an API (SWEEPHAND_URL, SWEEPHAND_API_KEY).",
)
app.command()(apply)

Name = Annotated[str, typer.Argument(help="The schedule's name.")]
Limit = Annotated[int, typer.Option(help="How many, 1 to 200.", min=1, max=200)]
Cursor = Annotated[str | None, typer.Option(help="`next_cursor` of the page before.")]


@app.command("list")
def list_(
    limit: Limit = 50, cursor: Cursor = None, url: Url = LOCAL, key: Key = "", *, as_json: AsJson = False
) -> None:
    """List schedules by name."""
    page = call(url, key, "GET", "/schedules", params=_given(limit=limit, cursor=cursor))
    if as_json:
        typer.echo(json.dumps(page))
        return
    table = Table("name", "when", "timezone", "job", "next fire", "made", "skipped")
    for each in page["schedules"]:
        table.add_row(
            *(each["name"], each["cron"] or each["every"], each["timezone"], each["job"].get("type", "")),
            *(_state(each), str(each["made"]), str(sum(each["skipped"].values()))),
        )
    Console().print(table)
    if page["next_cursor"]:
        typer.echo(f"more: --cursor {page['next_cursor']}")


@app.command()
def get(name: Name, url: Url = LOCAL, key: Key = "", *, as_json: AsJson = False) -> None:
    """Print one schedule, its next five fires, and what it made and skipped."""
    _print(call(url, key, "GET", _path(name)), as_json=as_json)


@app.command()
def put(
    body: Annotated[str, typer.Argument(metavar="SCHEDULE", help="JSON; @FILE reads a file, - standard input.")],
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Make a schedule, or replace the one of its name.

    sweephand schedules put '{"name": "hourly", "cron": "@hourly", "job": {"type": "generate_pdf", "payload": {}}}'
    """
    _print(call(url, key, "POST", "/schedules", json=read_json(body, "SCHEDULE")), as_json=as_json)


@app.command()
def patch(
    name: Name,
    body: Annotated[str, typer.Argument(metavar="FIELDS", help="JSON; @FILE reads a file, - standard input.")],
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Change the fields that FIELDS names; null brings a default back."""
    _print(call(url, key, "PATCH", _path(name), json=read_json(body, "FIELDS")), as_json=as_json)


@app.command()
def pause(name: Name, url: Url = LOCAL, key: Key = "", *, as_json: AsJson = False) -> None:
    """Stop a schedule from firing; jobs that are not due yet are taken back."""
    _print(call(url, key, "PATCH", _path(name), json={"paused": True}), as_json=as_json)


@app.command()
def resume(name: Name, url: Url = LOCAL, key: Key = "", *, as_json: AsJson = False) -> None:
    """Let a paused schedule fire again, from now on."""
    _print(call(url, key, "PATCH", _path(name), json={"paused": False}), as_json=as_json)


@app.command()
def delete(
    name: Name,
    url: Url = LOCAL,
    key: Key = "",
    *,
    cancel_jobs: Annotated[
        bool, typer.Option("--cancel-jobs", help="Cancel its jobs that have not started.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a schedule; jobs that are due stay, unless they are to be cancelled."""
    params = {"jobs": "cancel"} if cancel_jobs else {}
    answer = call(url, key, "DELETE", _path(name), params=params)
    typer.echo(json.dumps(answer) if as_json else f"{name} is deleted; {answer['cancelled']} jobs are cancelled")


@app.command()
def run(
    name: Name,
    idempotency_key: Annotated[str | None, typer.Option(help="Asking again with it makes no other job.")] = None,
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Make a job of a schedule now, and print its id."""
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    job = call(url, key, "POST", f"{_path(name)}/run", headers=headers)
    typer.echo(json.dumps(job) if as_json else job["id"])


@app.command()
def backfill(
    name: Name,
    begin: Annotated[str, typer.Option("--from", help="The first instant, RFC 3339 with offset.")],
    end: Annotated[str, typer.Option("--to", help="The last instant, which has passed.")],
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: AsJson = False,
) -> None:
    """Make the fires of a range in the past that have no job; asked again, it makes none twice."""
    made = existed = 0
    body: dict[str, Any] = {"from": begin, "to": end, "limit": 1000}
    while True:
        part = call(url, key, "POST", f"{_path(name)}/backfill", json=body)
        made, existed = made + part["made"], existed + part["existed"]
        if part["next"] is None:
            break
        typer.echo(f"made {made}, up to {part['next']}", err=True)
        body["after"] = part["next"]
    answer = {"made": made, "existed": existed}
    typer.echo(json.dumps(answer) if as_json else f"{made} jobs made, {existed} were made before")


@app.command()
def jobs(
    name: Name,
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: AsJson = False,
) -> None:
    """List the jobs that a schedule made, latest created first."""
    page = call(url, key, "GET", f"{_path(name)}/jobs", params=_given(limit=limit, cursor=cursor))
    if as_json:
        typer.echo(json.dumps(page))
        return
    table = Table("id", "fire_at", "status", "attempt", "reason")
    for job in page["jobs"]:
        row = (job["id"], job["fire_at"] or "by hand", job["status"], str(job["attempt"]), job["reason"] or "")
        table.add_row(*row)
    Console().print(table)
    if page["next_cursor"]:
        typer.echo(f"more: --cursor {page['next_cursor']}")


def _path(name: str) -> str:
    return f"/schedules/{quote(name, safe='')}"


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _state(schedule: dict[str, Any]) -> str:
    if schedule["invalid"]:
        return "invalid"
    if schedule["paused"]:
        return "paused"
    fires = schedule["next_fires"]
    return fires[0] if fires else "never"


def _print(schedule: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(schedule))
        return
    lines = [
        f"{schedule['name']}: {schedule['cron'] or schedule['every']} {schedule['timezone']} ({schedule['dst']})",
        f"next: {_state(schedule)}",
        *(f"      {at}" for at in schedule["next_fires"][1:]),
        f"made: {schedule['made']}, the last of {schedule['last_fire']}" if schedule["made"] else "made: 0",
        *(f"skipped, {reason}: {count}" for reason, count in sorted(schedule["skipped"].items())),
        *([f"invalid: {schedule['invalid']}"] if schedule["invalid"] else []),
    ]
    typer.echo("\n".join(lines))
