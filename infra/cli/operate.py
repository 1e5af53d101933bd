"""Commands for who runs Sweephand: dev, tick, sync, migrate."""

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
from sweephand.usecases import rebuild_index as syncing


def dev(
    port: Annotated[int, typer.Option(envvar="PORT", help="Where to listen, on loopback.")] = 8080,
    tick_seconds: Annotated[
        float | None,
        typer.Option(envvar="TICK_SECONDS", help="Seconds between ticks. Default: the schedule in serverless.yml."),
    ] = None,
    data_dir: Annotated[
        Path, typer.Option(envvar="DATA_DIR", help="Where data, outbox, objects and logs are kept.")
    ] = Path(".sweephand"),
) -> None:
    """Run everything on this machine: PostgreSQL, PostgREST, Valkey, every function, and the schedule.

    No account and no Docker. Set SUPABASE_URL with SUPABASE_KEY, or REDIS_URL, to use real services in place of
    the embedded ones. Ctrl-C stops all of it; the data stays.
    """
    from ..local import dev as emulation  # noqa: PLC0415 - needs the packages of the `local` extra

    asked = {"PORT": str(port), "DATA_DIR": str(data_dir)}
    if tick_seconds is not None:
        asked["TICK_SECONDS"] = str(tick_seconds)
    raise typer.Exit(emulation.run({**os.environ, **asked}))


def tick(
    budget: Annotated[
        float | None, typer.Option(help="Seconds to work for, at most TICK_BUDGET_SECONDS.", min=0.1)
    ] = None,
    linger: Annotated[
        float,
        typer.Option(help="Seconds to wait for jobs that are known to come due, at most LINGER_SECONDS.", min=0),
    ] = 0,
    *,
    drainer: Annotated[bool, typer.Option("--drainer", help="Drain only: call no further drainers.")] = False,
) -> None:
    """Run one tick against the configured services; the last line printed is its report, one JSON object.

    Ctrl-C or SIGTERM starts nothing more, finishes what runs, and hands the rest back.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: app.stop_ticks())
    app.run_tick({"drainer": drainer}, budget=budget, linger=linger)


def sync(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; count what is missing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and no progress.")] = False,
) -> None:
    """Rebuild the index from the record.

    Never needed: every tick restores what the index lost. It restores all of it at once, after a long outage.
    """
    index = app.index()
    if index is None:
        raise ConfigError("REDIS_URL is not set: there is no index to rebuild.")
    settings, handlers = app.settings(), app.handlers()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    total = syncing.Synced(0, 0)
    with Progress(*columns, console=Console(stderr=True), disable=as_json or not sys.stderr.isatty()) as progress:
        bar = progress.add_task("reading the record", total=None)
        for total in syncing.sync(
            app.record(), index, list(handlers), round(settings.horizon * 1000), dry_run=dry_run
        ):
            progress.update(bar, description=f"{total.seen:,} jobs read, {total.missing:,} missing", advance=1)
    if as_json:
        print(json.dumps({"seen": total.seen, "missing": total.missing, "dry_run": dry_run}))  # noqa: T201
    else:
        verb = "are missing from" if dry_run else "were missing and are now in"
        typer.echo(
            f"{total.seen:,} jobs are due within {settings.horizon:g} s; {total.missing:,} {verb} the index."
        )


def migrate(
    database_url: Annotated[
        str, typer.Option(envvar="DATABASE_URL", help="postgresql://… of the database's owner.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and change nothing.")] = False,
) -> None:
    """Show the migrations that the database lacks, apply them, and record them as the Supabase CLI does."""
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
