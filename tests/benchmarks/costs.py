"""What an idle day and a million jobs cost: `python -m tests.benchmarks.costs`.

infra/README.md shows the tables that it prints.
The quantities are measured in this repository, and the prices come from the vendors' own pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

TICKS = 24 * 60
"""Ticks in a day: one a minute (serverless.yml)."""
REDIS_COMMANDS = 1
RECORD_CALLS = 1
"""What an idle tick makes in a warm process: tests/deploy/test_lambda_tick.py counts both."""
TICK_MS = 10
"""How long an idle tick takes in a warm process beside PostgreSQL and Valkey: `make coldstart`."""
ROUND_TRIP_MS = 20
"""What the network of one region adds to each of a tick's two calls. Assumed; every other figure is measured."""
TICK_GB = 1.0
"""Memory of the tick function (`tickMemory`)."""
API_GB = 0.5
"""Memory of the HTTP functions (`apiMemory`)."""
CREATE_MS = 4.1
"""The p50 of `POST /jobs` with one client, through PostgREST: `make bench ONLY=create`."""
DRAINED_A_SECOND = 24_400
"""No-op jobs of one drainer through PostgREST: `make bench ONLY=drain`. A real handler adds its own time."""
BATCH = 500
"""Jobs in one claim, one start and one settle under a backlog (shared/sweephand/usecases/tick)."""
DAYS = 30


@dataclass(frozen=True, slots=True)
class Price:
    """The price of `unit` units, and the page that names it. Free tiers are left out."""

    dollars: float
    unit: float
    source: str


LAMBDA_REQUESTS = Price(0.20, 1e6, "docs.aws.amazon.com/whitepapers/latest/how-aws-pricing-works/lambda.html")
LAMBDA_SECONDS = Price(0.0000166667, 1, "aws.amazon.com/lambda/pricing")
HTTP_API = Price(
    1.00,
    1e6,
    "docs.aws.amazon.com/whitepapers/latest/best-practices-api-gateway-private-apis-integration/cost-optimization.html",
)
UPSTASH = Price(0.20, 1e5, "upstash.com/docs/redis/overall/billing")
"""All prices are of November 2026, for x86 in us-east-1."""


def idle_day() -> str:
    """Return the table of an idle day, in Markdown."""
    seconds = TICKS * (TICK_MS + 2 * ROUND_TRIP_MS) / 1000 * TICK_GB
    rows: list[Row] = [
        ("Lambda requests", TICKS, LAMBDA_REQUESTS),
        ("Lambda GB-seconds", seconds, LAMBDA_SECONDS),
        ("Redis commands", TICKS * REDIS_COMMANDS, UPSTASH),
        ("calls of the record", TICKS * RECORD_CALLS, None),
    ]
    return _table("an idle day takes", "$ in 30 days", rows, DAYS)


def million_jobs() -> str:
    """Return the table of a million no-op jobs, in Markdown.

    A request of its own creates each job, and ticks drain them in full batches.
    A tick that finds only a few jobs makes more calls for each.
    """
    jobs = 1_000_000
    create = jobs * (CREATE_MS + 2 * ROUND_TRIP_MS) / 1000 * API_GB
    drain = jobs / DRAINED_A_SECOND * TICK_GB
    rows: list[Row] = [
        ("HTTP API requests", jobs, HTTP_API),
        ("Lambda requests", jobs, LAMBDA_REQUESTS),
        ("Lambda GB-seconds, to create", create, LAMBDA_SECONDS),
        ("Lambda GB-seconds, to drain", drain, LAMBDA_SECONDS),
        ("Redis commands", jobs + jobs / BATCH, UPSTASH),
        ("calls of the record", jobs + 2 * jobs / BATCH, None),
    ]
    return _table("a million jobs take", "$", rows, 1)


Row: TypeAlias = tuple[str, float, Price | None]


def _table(title: str, unit: str, rows: Sequence[Row], times: int) -> str:
    lines = [f"| {title} | | {unit} | price |", "|---|---:|---:|---|"]
    for name, count, price in rows:
        if price is None:
            lines.append(f"| {name} | {count:,.0f} | in Supabase's plan | |")
        else:
            cost = count * times * price.dollars / price.unit
            rate = f"${price.dollars:g} for {price.unit:,.0f} ({price.source})"
            lines.append(f"| {name} | {count:,.0f} | {cost:.2f} | {rate} |")
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(f"{idle_day()}\n\n{million_jobs()}\n")
