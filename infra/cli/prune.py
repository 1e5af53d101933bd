"""`sweephand prune`: delete what has been finished for long enough."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sweephand import app
from sweephand.domain.errors import ConfigError
from sweephand.usecases import retention


def prune(
    days: Annotated[
        float | None, typer.Option(help="Keep what finished within so many days. Default: RETENTION_DAYS.", min=0)
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and no progress.")] = False,
) -> None:
    """Delete finished jobs that are older than RETENTION_DAYS, with all that belongs to them.

    Ticks do this by themselves where RETENTION_DAYS is set. Deletes 1,000 at a time, so that nothing waits for it;
    cut off, what is deleted is deleted.
    """
    keep = days * 86400 if days is not None else app.settings().retention
    if days is None and not keep:
        raise ConfigError("RETENTION_DAYS is not set: say how many --days to keep.")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    deleted = 0
    with Progress(*columns, console=Console(stderr=True), disable=as_json or not sys.stderr.isatty()) as progress:
        bar = progress.add_task("looking", total=None)
        for deleted in retention.prune(app.record(), round(keep)):
            progress.update(bar, description=f"{deleted:,} jobs deleted", advance=1)
    typer.echo(json.dumps({"deleted": deleted}) if as_json else f"{deleted:,} jobs deleted")
