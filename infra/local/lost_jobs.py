"""Tells the record which jobs a second Ctrl-C ended, so that they need not wait for their leases to run out."""

from collections.abc import Callable, Mapping
from typing import Any

from sweephand.adapters import direct, rest
from sweephand.domain.errors import SweephandError

ENDED = "the local emulation was ended while this attempt ran"
"""The error that the record keeps for such an attempt."""


def settle_as_lost(jobs: list[dict[str, Any]], env: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Count a crash for each of `jobs` and free its lease. A job that has ended meanwhile stays as it is.

    `jobs` have an `id` and a `token`; `env` are the functions' settings. Where the record cannot be reached, `say`
    gets a line, and the jobs start again when their leases run out.
    """
    outcomes = [{"id": job["id"], "token": job["token"], "to": "lost", "error": ENDED} for job in jobs]
    try:
        over_sql = env.get("STORE") == "direct"
        rpc = (
            direct.connect(env["DATABASE_URL"])
            if over_sql
            else rest.connect(env["SUPABASE_URL"], env["SUPABASE_KEY"])
        )
        try:
            rpc("sweephand_settle_v1", {"outcomes": outcomes})
        finally:
            rpc.close()
    except SweephandError as error:
        say(f"the record does not answer ({type(error).__name__}): each job starts again when its lease ends")
