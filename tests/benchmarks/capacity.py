"""What many drainers would do on a real Supabase: `python -m tests.benchmarks.capacity`.

infra/README.md holds what it prints.

Arithmetic from measured figures: a job takes so much CPU of a drainer, of PostgreSQL and of Redis, and so many
bytes of WAL; whichever runs out first is the limit. No-op jobs, STORE=direct, full batches.
"""

from dataclasses import dataclass

DRAINER_US = 22.0
"""CPU of a drainer a job, its start included: `make bench ONLY=growth`, 200,000 jobs."""
RECORD_US = 27.0
"""CPU of PostgreSQL a job: start, settle, commits, WAL and vacuum; the same run."""
INDEX_US = 4.4
"""CPU of Redis a job, which has one thread for it; the same run."""
WAL_BYTES = 840.0
"""WAL a job; the same run. Full pages after a checkpoint come on top."""
CONNECTIONS = 4
"""Calls of the record that one drainer makes at once: two starts, a settle and a look for what the index lost."""
VCPU = 1024 / 1769
"""Of a drainer: `tickMemory` MB of the 1,769 that are one vCPU (docs.aws.amazon.com/lambda: memory)."""
BATCH = 500
UPSTASH_COMMANDS = 10_000
"""Commands a second at most (upstash.com/docs/redis/overall/billing); one claims a batch."""
DRAINERS = (1, 10, 100)


@dataclass(frozen=True, slots=True)
class Size:
    """A Supabase compute size: cores, MB a second that its disk can always write, connections of its pooler."""

    name: str
    cores: int
    disk_mb: float
    connections: int


SIZES = (
    Size("Micro", 2, 11, 200),
    Size("Small", 2, 22, 400),
    Size("Medium", 2, 43, 600),
    Size("Large", 2, 79, 800),
    Size("XL", 4, 149, 1000),
    Size("2XL", 8, 297, 1500),
    Size("4XL", 16, 594, 3000),
    Size("16XL", 64, 2375, 12_000),
)
"""Cores and connections: supabase.com/docs/guides/platform/compute-add-ons; disks, what they write for ever:
supabase.com/docs/guides/troubleshooting/interpreting-supabase-grafana-io-charts-MUynDR; both as stored in November
2026. A core of theirs is taken for one of ours; up to Medium they are shared."""


def rate(size: Size, drainers: int) -> tuple[float, str]:
    """Return how many jobs a second so many drainers complete, and what keeps them from more."""
    able = min(drainers, size.connections // CONNECTIONS)
    return min(
        (able * VCPU / DRAINER_US * 1e6, "drainers" if able == drainers else "connections"),
        (size.cores / RECORD_US * 1e6, "cores"),
        (size.disk_mb * 1e6 / WAL_BYTES, "disk"),
        (1 / INDEX_US * 1e6, "Redis' thread"),
        (float(UPSTASH_COMMANDS * BATCH), "Upstash's commands"),
    )


def table() -> str:
    """Return the table in Markdown."""
    head = " | ".join(f"{count} drainer{'s' * (count > 1)}" for count in DRAINERS)
    lines = [f"| Supabase | {head} |", f"|---|{'---:|' * len(DRAINERS)}"]
    for size in SIZES:
        cells = (rate(size, count) for count in DRAINERS)
        lines.append(f"| {size.name} | {' | '.join(f'{jobs:,.0f} ({limit})' for jobs, limit in cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(f"{table()}\n")
