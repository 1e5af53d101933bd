"""What many drainers would do on a real Supabase: `python -m tests.benchmarks.capacity`.

infra/README.md shows the table that it prints.
It is arithmetic on measured figures. Each job takes processor time of a drainer, of PostgreSQL and of Redis,
and bytes of WAL; whichever runs out first is the limit. The jobs are no-op jobs in full batches, with STORE=direct.
"""

from dataclasses import dataclass

DRAINER_US = 22.0
"""A drainer's processor time for each job, its own start included: `make bench ONLY=growth`, 200,000 jobs."""
RECORD_US = 27.0
"""PostgreSQL's processor time for each job: start, settle, commits, WAL and vacuum. From the same run."""
INDEX_US = 4.4
"""Redis' processor time for each job, all on its one thread. From the same run."""
WAL_BYTES = 840.0
"""WAL for each job, without the full pages that follow a checkpoint. From the same run."""
CONNECTIONS = 4
"""How many calls of the record a drainer has open at most: two starts, a settle and a restore."""
VCPU = 1024 / 1769
"""A drainer's share of a processor: Lambda gives one vCPU for 1,769 MB (docs.aws.amazon.com/lambda: memory)."""
BATCH = 500
UPSTASH_COMMANDS = 10_000
"""The most commands a second (upstash.com/docs/redis/overall/billing). One command claims a batch."""
DRAINERS = (1, 10, 100)


@dataclass(frozen=True, slots=True)
class Size:
    """A Supabase compute size: cores, the MB a second that its disk can write all day, its pooler's connections."""

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
"""Cores and connections are from supabase.com/docs/guides/platform/compute-add-ons, the disks' baseline rates from
supabase.com/docs/guides/troubleshooting/interpreting-supabase-grafana-io-charts-MUynDR, both of November 2026.
A core there counts as one of the machine that measured. Sizes up to Medium share their cores with others."""


def rate(size: Size, drainers: int) -> tuple[float, str]:
    """Return how many jobs a second `drainers` would complete, and what limits them."""
    connected = min(drainers, size.connections // CONNECTIONS)
    return min(
        (connected * VCPU / DRAINER_US * 1e6, "drainers" if connected == drainers else "connections"),
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
