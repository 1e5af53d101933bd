"""Sweephand's adapter for the peers' harness; as a program it is a drainer that ticks for ever."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))
os.environ |= {
    "STORE": "direct",
    "DATABASE_URL": os.environ.get("BENCH_PG_DSN", ""),
    "REDIS_URL": os.environ.get("BENCH_REDIS_URL", ""),
    "HANDLERS": "sweephand_app",
}

import psycopg  # noqa: E402 - the path and the settings come first
from common import PAYLOAD, mark  # type: ignore[import-not-found] # noqa: E402 - the harness's own module
from pydantic import BaseModel, ConfigDict  # noqa: E402

from infra.supabase.migrate import migrate  # noqa: E402
from sweephand import (  # noqa: E402
    Context,
    app,
    handler,
)

BATCH = 500
ROLES = ("anon", "authenticated", "service_role")


class Due(BaseModel):
    """When the job was due, and whatever else the harness puts beside it."""

    model_config = ConfigDict(extra="allow")

    due: float = 0.0


@handler("job", payload=Due, timeout=30)
async def job(payload: Due, _ctx: Context) -> None:
    """Record that it ran, as every peer's job does."""
    mark(payload.due)


def init() -> None:
    """Make Supabase's roles and apply the migrations."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        for role in ROLES:
            if not connection.execute("select from pg_roles where rolname = %s", (role,)).fetchall():
                connection.execute(f"create role {role} nologin".encode())
    migrate(os.environ["DATABASE_URL"], say=lambda _line: None)


def one(n: int) -> None:
    """Create jobs, one at a time."""
    for _ in range(n):
        app.creator()({"type": "job", "payload": {}}, "bench")


def bulk(n: int) -> None:
    """Create jobs in batches."""
    _batches([{"type": "job", "payload": {}}] * n)


def schedule(dues: list[float]) -> None:
    """Create jobs for these times."""
    _batches(
        [
            {
                "type": "job",
                "payload": {"due": due, **PAYLOAD},
                "scheduled_at": datetime.fromtimestamp(due, UTC).isoformat(),
            }
            for due in dues
        ]
    )


def _batches(jobs: list[dict[str, Any]]) -> None:
    for at in range(0, len(jobs), BATCH):
        app.creator().batch({"jobs": jobs[at : at + BATCH]}, "bench")


def main() -> None:
    """Tick for ever: where the schedule would start the next one, it follows at once."""
    while True:
        app.run(app.tick())


if __name__ == "__main__":
    sys.modules["sweephand_app"] = sys.modules["__main__"]  # HANDLERS names it so
    main()
