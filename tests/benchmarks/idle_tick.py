"""Measures a tick that finds nothing, in a process that has ticked before."""

import json
import time
from collections.abc import Mapping
from typing import Any

import redis

from sweephand import app

TICKS = 20


def main() -> None:
    """Print {redis_commands, record_calls, cpu_ms, wall_ms} a tick."""
    calls = 0
    rpc = app.rpc()

    def counted(name: str, params: Mapping[str, Any]) -> Any:
        nonlocal calls
        calls += 1
        return rpc(name, params)

    app.rpc = lambda: counted  # type: ignore[assignment]
    with redis.Redis.from_url(app.settings().redis_url) as client:
        for _ in range(3):
            app.run(app.tick())
        calls, commands = 0, _commands(client)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(TICKS):
            app.run(app.tick())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        commands = _commands(client) - commands - 1  # our own INFO
    print(
        json.dumps(
            {
                "redis_commands": commands / TICKS,
                "record_calls": calls / TICKS,
                "cpu_ms": cpu / TICKS * 1000,
                "wall_ms": wall / TICKS * 1000,
            }
        )
    )


def _commands(client: "redis.Redis") -> int:
    """Return how many commands the server was sent: what a script calls inside itself is no command of ours."""
    stats: Mapping[str, Mapping[str, int]] = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval", "info", "blpop"))


if __name__ == "__main__":
    main()
