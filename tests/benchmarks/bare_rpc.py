"""Measures one bare call of the record, over the transport that STORE names: {p50, p99} in ms."""

import json
import time
import uuid

from shared import composition
from shared.domain.job import NewJob
from tests.benchmarks.bed import percentile

CALLS = 300


def main() -> None:
    """Create a job again and again, by the record alone: what a create cannot do without."""
    record = composition.record()
    took = []
    for _ in range(CALLS):
        job = NewJob(uuid.uuid4(), "noop", {})
        began = time.perf_counter()
        record.create([job])
        took.append(time.perf_counter() - began)
    print(json.dumps({"p50": percentile(took[20:], 0.5) * 1000, "p99": percentile(took[20:], 0.99) * 1000}))


if __name__ == "__main__":
    main()
