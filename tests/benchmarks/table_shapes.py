"""How the record's tables behave under churn in four shapes: the measurement behind the first migration.

    DATABASE_URL=postgresql://… python -m tests.benchmarks.table_shapes [--jobs 100000] [--rounds 4]

Each round fills, starts and settles `--jobs` jobs in batches of 500 with one client and no vacuum between
rounds (the worst an autovacuum that lags can do); then a page of due jobs is read and its buffers counted.
Everything happens in a schema of its own that is dropped at the end.
"""

import argparse
import json
import os
import statistics
import time
import uuid
from pathlib import Path

import psycopg

SHAPES = Path(__file__).parent / "shapes"
BATCH = 500


def sql(name: str) -> str:
    """Return the text of a shape's file."""
    return (SHAPES / f"{name}.sql").read_text()


def build(db: psycopg.Connection, shape: str) -> None:
    """Make the schema anew in this shape."""
    db.execute("drop schema if exists shape cascade; create schema shape; set search_path = shape")
    db.execute(
        "create function payload() returns jsonb language sql immutable as "
        """$$ select '{"user_id": 123456, "email": "someone@example.com", "tags": ["a", "b"]}'::jsonb $$""",
    )
    if shape != "one":
        db.execute(sql("common"))
    db.execute(sql(shape))


def ids(db: psycopg.Connection, jobs: int, base: str) -> list[str]:
    """Fill one round and return its ids."""
    db.execute("select fill(%s, %s)", (jobs, base))
    rows = db.execute("select md5(%s || i)::uuid::text from generate_series(1, %s) i", (base, jobs)).fetchall()
    return [row[0] for row in rows]


def round_of(db: psycopg.Connection, jobs: int, base: str) -> dict[str, float]:
    """Microseconds per job of start and settle in one round, and what a page costs after it."""
    due = ids(db, jobs, base)
    spent = {"start": 0.0, "settle": 0.0}
    for at in range(0, jobs, BATCH):
        batch, token = due[at : at + BATCH], str(uuid.uuid4())
        began = time.perf_counter()
        db.execute("select start(%s::uuid[], %s)", (batch, token)).fetchone()
        spent["start"] += time.perf_counter() - began
        outcomes = json.dumps([{"id": i, "token": token, "result": None} for i in batch])
        began = time.perf_counter()
        done = db.execute("select settle(%s)", (outcomes,)).fetchone()
        spent["settle"] += time.perf_counter() - began
        if done != (len(batch),):
            raise SystemExit(f"settled {done} of {len(batch)}")
    per_job = {step: seconds / jobs * 1e6 for step, seconds in spent.items()}
    return per_job | {"page_first": page_ms(db), "page_again": page_ms(db)}


def page_ms(db: psycopg.Connection) -> float:
    """Milliseconds for a page of due jobs when none is due."""
    began = time.perf_counter()
    db.execute("select page()").fetchone()
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Measure every shape and print one line a round."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--jobs", type=int, default=100_000)
    ap.add_argument("--rounds", type=int, default=4)
    ap.add_argument("--only", default="one,hot,indexed,leases")
    opts = ap.parse_args()
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as db:
        print(f"{'shape':8} {'round':>5} {'start us':>9} {'settle us':>9} {'page ms':>8} {'again':>7}")
        for shape in opts.only.split(","):
            build(db, shape)
            totals = []
            for r in range(opts.rounds):
                row = round_of(db, opts.jobs, f"{shape}{r}-")
                totals.append(row["start"] + row["settle"])
                figures = (
                    f"{row['start']:9.1f} {row['settle']:9.1f} {row['page_first']:8.1f} {row['page_again']:7.1f}"
                )
                print(f"{shape:8} {r:5} {figures}", flush=True)
            print(f"{shape:8} median {statistics.median(totals):.1f} us a job")
        db.execute("drop schema shape cascade")


if __name__ == "__main__":
    main()
