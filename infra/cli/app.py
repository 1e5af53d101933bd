"""`sweephand`: the list of its commands, and the settings that they read."""

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from sweephand.domain.errors import SweephandError
from sweephand.settings import without_proxies
from sweephand.version import VERSION

from . import jobs, project, schedules
from .doctor import colour, doctor
from .import_jobs import import_
from .init import init
from .operate import dev, migrate, prune, sync, tick
from .package import package

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="""A distributed task scheduler made of cloud functions.

    Start everything on this machine with `sweephand dev`, then create a job:

    sweephand jobs create email_notification --payload '{"to":"me@example.com","subject":"Hi","message":"!"}'

    Settings come from the environment, or from a file with --env: `sweephand dev` writes one to .sweephand/env.
    """,
)
app.command()(init)
app.command()(dev)
app.command()(tick)
app.command()(sync)
app.command()(migrate)
app.command()(prune)
app.command()(doctor)
app.command()(package)
jobs.app.command("import")(import_)
app.add_typer(jobs.app, name="jobs")
app.add_typer(schedules.app, name="schedules")


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"sweephand {VERSION}")
        raise typer.Exit


@app.callback()
def settings(
    env: Annotated[
        Path | None,
        typer.Option(help="Read KEY=value lines from this file; variables of the environment win.", exists=True),
    ] = None,
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens to standard error.")] = False,
) -> None:
    """Read the settings before any command."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for line in env.read_text("utf-8").splitlines() if env else ():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            os.environ.setdefault(name.strip().removeprefix("export "), _unquoted(value.strip()))
    if modules := project.handlers():
        os.environ.setdefault("HANDLERS", modules)
    os.environ.update(without_proxies(os.environ))


def _unquoted(value: str) -> str:
    """Return the value that a shell would read from the file; a value that is not one word stays as it is."""
    try:
        words = shlex.split(value)
    except ValueError:  # a quote that is not closed
        return value
    return words[0] if len(words) == 1 else value


def main() -> None:
    """Run a command. An error of ours prints one line and exits with status 1."""
    try:
        app()
    except SweephandError as e:
        typer.secho(f"sweephand: {e}", fg=colour(typer.colors.RED), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
