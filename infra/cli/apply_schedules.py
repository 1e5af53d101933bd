"""`sweephand schedules apply`: bring the schedules of a list to what its file says, with a plan shown first."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote

import typer
import yaml

from sweephand.domain.errors import ConfigError, InvalidError

from .jobs import LOCAL, ApiError, AsJson, Key, Url, call

NOT_FOUND = 404
SIGNS = {"create": "+", "replace": "~", "adopt": "=", "keep": " ", "delete": "-"}

File = Annotated[Path, typer.Argument(metavar="FILE.yml", help="A list of schedules.", exists=True, dir_okay=False)]


class Step(NamedTuple):
    """What is to be done with one schedule."""

    action: str
    """create, replace, adopt (only the list changes), keep or delete."""
    name: str
    changes: Sequence[str] = ()
    """The fields that differ, of one that is replaced."""


class Listed(NamedTuple):
    """What a file says."""

    source: str
    schedules: Mapping[str, Mapping[str, Any]]
    """By name, as they are sent."""


def apply(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.yml", help="A list of schedules.", exists=True, dir_okay=False)
    ],
    url: Url = LOCAL,
    key: Key = "",
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make, replace and delete schedules so that they are as FILE.yml lists them; shows the plan, and asks.

    It deletes only what an earlier `apply` of the same list made: a list is known by its `source`, else by the name
    of its file. With --json and without --yes it prints the plan and does nothing.
    """
    listed = read(file)
    steps = plan(listed, url, key)
    if not as_json:
        typer.echo("\n".join(map(_line, steps)) or "The list is empty, and so is what it made.")
    to_do = [step for step in steps if step.action != "keep"]
    applied = bool(yes or (not as_json and to_do and typer.confirm("Apply?")))
    if applied:
        for step in to_do:
            carry_out(step, listed, url, key)
    if as_json:
        typer.echo(json.dumps({"source": listed.source, "applied": applied, "steps": [s._asdict() for s in steps]}))
    elif to_do and not applied:
        raise typer.Exit(1)


def read(file: Path) -> Listed:
    """Return what `file` lists; raises `ConfigError` that names each fault and its schedule."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ConfigError(f"{file}: {e}") from e
    whole = {"schedules": content} if isinstance(content, list) else content
    if not isinstance(whole, dict) or not isinstance(whole.get("schedules"), list):
        raise ConfigError(f"{file}: write `schedules:` and a list under it, or a list alone")
    if unknown := whole.keys() - {"schedules", "source"}:
        raise ConfigError(f"{file}: no such key: {', '.join(map(str, sorted(unknown, key=str)))}")
    source = whole.get("source", file.name)
    if not isinstance(source, str) or not source:
        raise ConfigError(f"{file}: source is the name of the list, such as billing")
    return Listed(source, _checked(file, [_as_json(each) for each in whole["schedules"]]))


def _checked(file: Path, bodies: Sequence[Any]) -> Mapping[str, Mapping[str, Any]]:
    faults, found = [], {}
    for number, body in enumerate(bodies, 1):
        name = body.get("name", f"number {number}") if isinstance(body, dict) else f"number {number}"
        try:
            _canonical(body)
        except InvalidError as e:
            faults += [f"{file}: {name}: {fault.pointer}: {fault.detail}" for fault in e.faults]
            continue
        if name in found:
            faults.append(f"{file}: {name}: stands there twice")
        found[name] = body
    if faults:
        raise ConfigError("\n".join(faults))
    return found


def plan(listed: Listed, url: str, key: str) -> list[Step]:
    """Return what is to be done with each schedule of the list, and with what the list made and no longer has."""
    steps = []
    for name, body in sorted(listed.schedules.items()):
        there = _get(name, url, key)
        if there is None:
            steps.append(Step("create", name))
        elif changes := _changes(there, body):
            steps.append(Step("replace", name, changes))
        else:
            steps.append(Step("keep" if there["source"] == listed.source else "adopt", name))
    made = _made_by(listed.source, url, key)
    return steps + [Step("delete", name) for name in made if name not in listed.schedules]


def carry_out(step: Step, listed: Listed, url: str, key: str) -> None:
    """Do one step; done again it does nothing more. Raises `SweephandError` with what the API told."""
    if step.action == "delete":
        try:
            call(url, key, "DELETE", _path(step.name))
        except ApiError as e:
            if e.status != NOT_FOUND:
                raise
        return
    body = listed.schedules[step.name]
    try:
        call(url, key, "POST", "/schedules", json=body, params={"source": listed.source})
    except ApiError as e:
        raise ApiError(e.status, f"{step.name}: {e}") from e


def _changes(there: Mapping[str, Any], body: Mapping[str, Any]) -> list[str]:
    """Return the fields in which a schedule differs from what is asked for."""
    wanted = _canonical(body)
    try:
        has = _canonical({name: there[name] for name in wanted if name in there})
    except InvalidError:  # written by SQL
        has = {}
    return [name for name in wanted if has.get(name) != wanted[name]]


def _made_by(source: str, url: str, key: str) -> list[str]:
    names: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = call(url, key, "GET", "/schedules", params={"source": source, "limit": "200", **cursor})
        names += [each["name"] for each in page["schedules"]]
        if page["next_cursor"] is None:
            return names
        cursor = {"cursor": page["next_cursor"]}


def _get(name: str, url: str, key: str) -> Any:
    try:
        return call(url, key, "GET", _path(name))
    except ApiError as e:
        if e.status == NOT_FOUND:
            return None
        raise


def _path(name: str) -> str:
    return f"/schedules/{quote(name, safe='')}"


def _as_json(value: Any) -> Any:
    """Return what YAML read as JSON has it: a time without quotes is a text."""
    if isinstance(value, dict):
        return {str(key): _as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _line(step: Step) -> str:
    note = f" ({', '.join(step.changes)})" if step.changes else ""
    return f"{SIGNS[step.action]} {step.action:8} {step.name}{note}"


def _canonical(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return every field of a schedule, as two of them are compared; raises `InvalidError`."""
    # An eighth of a second that no other command needs.
    from sweephand.domain.schedule import as_json  # noqa: PLC0415
    from sweephand.domain.schedule_request import new_schedule  # noqa: PLC0415 - likewise

    return as_json(new_schedule(dict(body), None))
