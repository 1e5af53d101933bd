"""Measures `POST /jobs` beside what it cannot do without: `python -m tests.benchmarks.beside HELLO GATEWAY`.

Requests go in turn, one of each kind after the other: a function that does nothing, a bare call of the record over
the transport that STORE names, and a create. So the machine's speed, which changes by the second, meets all alike,
and so does the sleep of the processes between: in a tight loop the record, and a hello too, answers a quarter
sooner than when it is called now and then. Prints {hello, rpc, p50, p99, limit} in ms; the limit is the p50 of the
first, of the second, and 1 ms.
"""

import http.client
import json
import sys
import time
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

from shared import composition
from shared.domain.job import NewJob
from tests.benchmarks.bed import KEY, percentile

WARM, ROUNDS = 100, 1000


def main() -> None:
    """Measure, and print the figures."""
    hello, gateway = sys.argv[1:]
    record = composition.record()
    took = in_turn(
        {
            "hello": _sends(hello, "GET", "/"),
            "rpc": lambda: record.create([NewJob(uuid.uuid4(), "noop", {})]),
            "create": _sends(gateway, "POST", "/jobs", json.dumps({"type": "noop", "payload": {}})),
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


def _sends(url: str, method: str, path: str, body: str | None = None) -> Callable[[], None]:
    """Return what sends one request over a connection that it keeps."""
    at = urlsplit(url)
    assert at.hostname is not None
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)

    def send() -> None:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status >= http.HTTPStatus.MULTIPLE_CHOICES:
            raise RuntimeError(f"{method} {path}: {answer.status}")

    return send


if __name__ == "__main__":
    main()
