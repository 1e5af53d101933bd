"""Sends requests from several clients at once, in a process of its own: `python -m tests.benchmarks.load`.

The argument is one JSON object: {url, method, path, paths?, body?, clients, seconds}. Prints {rate, p50, p99,
failed}, in requests a second and ms. Each client is a thread with a connection that it keeps.
"""

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.harness import KEY, percentile


def sender(url: str, method: str, body: object = None) -> Callable[[str], int]:
    """Return what sends a request to a path over a connection of its own, and returns the answer's status."""
    at = urlsplit(url)
    assert at.hostname is not None
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    text = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    def send(path: str) -> int:
        connection.request(method, path, text, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return send


def load(asked: dict[str, Any]) -> dict[str, float]:
    """Send what is asked for and return the figures."""
    took: list[float] = []
    failed: list[int] = []
    until = [0.0]

    def set_end() -> None:
        until[0] = time.perf_counter() + asked["seconds"]

    begin = threading.Barrier(asked["clients"] + 1, set_end)

    def client(number: int) -> None:
        send = sender(asked["url"], asked["method"], asked.get("body"))
        paths = asked.get("paths") or [asked["path"]]
        turn = cycle(paths[number % len(paths) :] + paths[: number % len(paths)])

        def once() -> None:
            if (status := send(next(turn))) >= 300:
                failed.append(status)

        try:
            once()
        except Exception:
            begin.abort()  # the others and who counts would wait for ever
            raise
        begin.wait()
        while (began := time.perf_counter()) < until[0]:
            once()
            took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(asked["clients"])]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return {
        "rate": len(took) / (time.perf_counter() - began),
        "p50": percentile(took, 0.5) * 1000,
        "p99": percentile(took, 0.99) * 1000,
        "failed": len(failed),
    }


if __name__ == "__main__":
    print(json.dumps(load(json.loads(sys.argv[1]))))
