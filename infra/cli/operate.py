"""Commands for people who operate Sweephand: dev, tick, sync, prune, migrate."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sweephand import app
from sweephand.domain.errors import ConfigError, SweephandError
from sweephand.settings import HORIZON
from sweephand.usecases import rebuild_index, retention


def dev(
    port: Annotated[int, typer.Option(envvar="PORT", help="Port on loopback to listen at.")] = 8080,
    tick_seconds: Annotated[
        float | None,
        typer.Option(envvar="TICK_SECONDS", help="Seconds between ticks. Default: the schedule in serverless.yml."),
    ] = None,
    data_dir: Annotated[
        Path, typer.Option(envvar="DATA_DIR", help="Folder for data, outbox, objects and logs.")
    ] = Path(".sweephand"),
) -> None:
    """Run everything on this machine: PostgreSQL, PostgREST, Valkey, every function, and the schedule.

    It needs no account and no Docker. Where PostgREST is missing, the functions call PostgreSQL itself. Set
    SUPABASE_URL with SUPABASE_KEY, or REDIS_URL, to use real services. Ctrl-C stops everything; the data stays.
    """
    from ..local import dev as emulation  # noqa: PLC0415 - needs the packages of the `local` extra

    settings = {"PORT": str(port), "DATA_DIR": str(data_dir)}
    if tick_seconds is not None:
        settings["TICK_SECONDS"] = str(tick_seconds)
    raise typer.Exit(emulation.run({**os.environ, **settings}))


def tick(
    budget: Annotated[
        float | None, typer.Option(help="Seconds to work for, at most TICK_BUDGET_SECONDS.", min=0.1)
    ] = None,
    linger: Annotated[
        float,
        typer.Option(help="Seconds to wait for jobs that will come due, at most LINGER_SECONDS.", min=0),
    ] = 0,
    *,
    drainer: Annotated[bool, typer.Option("--drainer", help="Only drain: start no further drainers.")] = False,
) -> None:
    """Run one tick against the configured services. It prints its report as the last line, one JSON object.

    After Ctrl-C or SIGTERM the tick starts no further job, lets running jobs end, and releases the others.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: app.stop_ticks())
    app.run_tick({"drainer": drainer}, budget=budget, linger=linger)


def sync(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; count the missing jobs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and no progress.")] = False,
) -> None:
    """Rebuild the index from the record.

    You never need it: each tick restores jobs that the index lost. After a long outage it restores all at once.
    """
    index = app.index()
    if index is None:
        raise ConfigError("REDIS_URL is not set: there is no index to rebuild.")
    handlers = app.handlers()
    total = rebuild_index.Synced(0, 0)
    with _progress(hidden=as_json) as progress:
        bar = progress.add_task("reading the record", total=None)
        for total in rebuild_index.sync(
            app.record(), index, list(handlers), round(HORIZON * 1000), dry_run=dry_run
        ):
            progress.update(bar, description=f"{total.seen:,} jobs read, {total.missing:,} missing", advance=1)
    if as_json:
        print(json.dumps({"seen": total.seen, "missing": total.missing, "dry_run": dry_run}))  # noqa: T201
    else:
        verb = "are missing from" if dry_run else "were missing and are now in"
        typer.echo(f"{total.seen:,} jobs are due within {HORIZON:g} s; {total.missing:,} {verb} the index.")


def prune(
    days: Annotated[
        float | None,
        typer.Option(help="Keep jobs that finished within so many days. Default: RETENTION_DAYS.", min=0),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and no progress.")] = False,
) -> None:
    """Delete finished jobs that are older than RETENTION_DAYS, with all their data.

    Where RETENTION_DAYS is set, ticks do this too. It deletes 1,000 jobs at a time, so that nothing waits for it.
    You may cut it off: the jobs deleted so far stay deleted.
    """
    keep = days * 86400 if days is not None else app.settings().retention
    if days is None and not keep:
        raise ConfigError("RETENTION_DAYS is not set: say with --days how many days to keep.")
    deleted = 0
    with _progress(hidden=as_json) as progress:
        bar = progress.add_task("looking", total=None)
        for deleted in retention.prune(app.record(), round(keep)):
            progress.update(bar, description=f"{deleted:,} jobs deleted", advance=1)
    typer.echo(json.dumps({"deleted": deleted}) if as_json else f"{deleted:,} jobs deleted")


def migrate(
    database_url: Annotated[
        str, typer.Option(envvar="DATABASE_URL", help="postgresql://… with the role that owns the database.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the migrations, and change nothing.")] = False,
) -> None:
    """Show the migrations that the database lacks, apply them, and record them in the Supabase CLI's table."""
    import psycopg  # noqa: PLC0415 - needs the packages of the `local` extra

    from ..supabase import migrate as migrations  # noqa: PLC0415 - likewise

    try:
        lacking = migrations.lacking(database_url)
        if lacking or dry_run:
            typer.echo(f"To apply: {', '.join(map(str, lacking))}" if lacking else "There is nothing to apply.")
        if dry_run:
            return
        applied = migrations.migrate(database_url, say=typer.echo)
    except (migrations.MigrationError, psycopg.Error) as e:
        raise SweephandError(str(e).strip()) from e
    typer.echo("The database is up to date." if applied else "Nothing to apply: the database is up to date.")


def _progress(*, hidden: bool) -> Progress:
    """Return a line on standard error that shows progress, where a person can see it and `hidden` is false."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=hidden or not sys.stderr.isatty())
