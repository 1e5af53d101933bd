"""Measures `POST /jobs` beside what it cannot do without: `python -m … HELLO GATEWAY`.

Requests go in turn, one of each kind after the other: a function that does nothing, a bare call of the record over
the transport that STORE names, and a create. So the machine's speed, which changes by the second, meets all alike,
and so does the sleep of the processes between: in a tight loop the record, and a hello too, answers a quarter
sooner than when it is called now and then. Prints {hello, rpc, p50, p99, limit} in ms; the limit is the p50 of the
first, of the second, and 1 ms.
"""

import json
import sys
import time
import uuid
from collections.abc import Callable
from http import HTTPStatus

from sweephand import app
from sweephand.domain.job import NewJob
from tests.benchmarks.harness import percentile
from tests.benchmarks.load import sender

WARM, ROUNDS = 100, 1000


def main() -> None:
    """Measure, and print the figures."""
    hello, create = sender(sys.argv[1], "GET"), sender(sys.argv[2], "POST", {"type": "noop", "payload": {}})
    record = app.record()
    took = in_turn(
        {
            "hello": lambda: _answered(hello("/")),
            "rpc": lambda: record.create([NewJob(uuid.uuid4(), "noop", {})]),
            "create": lambda: _answered(create("/jobs")),
        }
    )
    p50 = {name: percentile(each, 0.5) * 1000 for name, each in took.items()}
    found = {
        "hello": p50["hello"],
        "rpc": p50["rpc"],
        "p50": p50["create"],
        "p99": percentile(took["create"], 0.99) * 1000,
        "limit": p50["hello"] + p50["rpc"] + 1,
    }
    print(json.dumps(found))


def in_turn(acts: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return the seconds that each took in each round but the first ones."""
    took: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(WARM + ROUNDS):
        for name, act in acts.items():
            began = time.perf_counter()
            act()
            took[name].append(time.perf_counter() - began)
    return {name: each[WARM:] for name, each in took.items()}


def _answered(status: int) -> None:
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise RuntimeError(f"a request was answered with {status}")


if __name__ == "__main__":
    main()
