"""What an idle day costs, as a table: `python -m infra.costs`. infra/README.md holds what it prints.

Quantities come from measurements of this repository, prices from the vendors' own pages.
"""

from dataclasses import dataclass

TICKS = 24 * 60
"""One a minute (serverless.yml)."""
REDIS_COMMANDS = 1
RECORD_CALLS = 1
"""Of an idle tick in a warm process: tests/deploy/test_lambda_tick.py counts both."""
TICK_MS = 10
"""An idle tick in a warm process, `make coldstart`, with PostgreSQL and Valkey on the same machine."""
ROUND_TRIP_MS = 20
"""What the network adds to each of its two calls, within one region; the one figure here that is assumed."""
TICK_GB = 1.0
"""Memory of tick (`tickMemory`)."""
DAYS = 30


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs above what is free."""

    dollars: float
    unit: float
    source: str


LAMBDA_REQUESTS = Price(0.20, 1e6, "docs.aws.amazon.com/whitepapers/latest/how-aws-pricing-works/lambda.html")
LAMBDA_SECONDS = Price(0.0000166667, 1, "aws.amazon.com/lambda/pricing")
UPSTASH = Price(0.20, 1e5, "upstash.com/docs/redis/overall/billing")
"""All as stored in November 2026, for x86 in us-east-1; free tiers are left out."""


def table() -> str:
    """Return the table in Markdown."""
    seconds = TICKS * (TICK_MS + 2 * ROUND_TRIP_MS) / 1000 * TICK_GB
    rows = [
        ("Lambda requests", TICKS, LAMBDA_REQUESTS),
        ("Lambda GB-seconds", seconds, LAMBDA_SECONDS),
        ("Redis commands", TICKS * REDIS_COMMANDS, UPSTASH),
        ("calls of the record", TICKS * RECORD_CALLS, None),
    ]
    lines = ["| an idle day takes | | $ in 30 days | price |", "|---|---:|---:|---|"]
    for name, count, price in rows:
        if price is None:
            lines.append(f"| {name} | {count:,.0f} | in Supabase's plan | |")
        else:
            cost = count * DAYS * price.dollars / price.unit
            said = f"${price.dollars:g} for {price.unit:,.0f} ({price.source})"
            lines.append(f"| {name} | {count:,.0f} | {cost:.2f} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(table() + "\n")
