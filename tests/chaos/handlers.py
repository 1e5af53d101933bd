"""What the chaos run has done: handlers that behave, and handlers that misbehave in every way we know.

Each appends its entry to the ledger in one write: id, attempt, the machine's real time, the process, and the
payload's n.
"""

import asyncio
import os
import resource
import signal
import threading
import time
from typing import Any

from pydantic import BaseModel, ConfigDict

from sweephand import Context, GiveUp, Retry, handler

SECRET = "payload-secret-5f1e"
"""Stands in payloads and errors, and must stand in no line of a log."""


class Numbered(BaseModel):
    """What these handlers take."""

    model_config = ConfigDict(extra="forbid")

    n: int = 0
    note: str = ""
    pause: float = 0
    """Seconds that `grind` and `dawdle` take."""


class Odd(BaseException):
    """What `except Exception` does not catch."""


def enter(ctx: Context, payload: Numbered) -> None:
    """Append this entry to the ledger; `n` tells apart the lives of an id."""
    at = time.clock_gettime(time.CLOCK_REALTIME)
    line = f"{ctx.job_id} {ctx.attempt} {at:.6f} {os.getpid()} {payload.n}\n"
    with open(os.environ["LEDGER"], "ab", buffering=0) as ledger:  # noqa: PTH123 - one O_APPEND write
        ledger.write(line.encode())


@handler("quick", payload=Numbered, timeout=2)
async def quick(payload: Numbered, ctx: Context) -> dict[str, int]:
    """Return at once."""
    enter(ctx, payload)
    return {"n": payload.n}


@handler("brief", payload=Numbered, timeout=2)
async def brief(payload: Numbered, ctx: Context) -> dict[str, int]:
    """Return at once, too: a type beside `quick` that has a far shorter backlog."""
    enter(ctx, payload)
    return {"n": payload.n}


@handler("slow", payload=Numbered, timeout=3)
async def slow(payload: Numbered, ctx: Context) -> None:
    """Wait for a moment."""
    enter(ctx, payload)
    await asyncio.sleep(0.3)


@handler("thread", payload=Numbered, timeout=2)
def in_thread(payload: Numbered, ctx: Context) -> None:
    """Block a thread for a moment."""
    enter(ctx, payload)
    time.sleep(0.02)


@handler("process", payload=Numbered, timeout=4, isolation="process")
def in_process(payload: Numbered, ctx: Context) -> dict[str, int]:
    """Run in a child."""
    enter(ctx, payload)
    return {"pid": os.getpid()}


@handler("dawdle", payload=Numbered, timeout=3)
async def dawdle(payload: Numbered, ctx: Context) -> dict[str, int]:
    """Wait, long enough to be touched meanwhile; then return, or fail at the first attempt."""
    enter(ctx, payload)
    await asyncio.sleep(payload.pause)
    if payload.n % 2 and ctx.attempt == 1:
        raise RuntimeError("the first attempt fails")
    return {"n": payload.n}


@handler("grind", payload=Numbered, timeout=3, isolation="process")
def grind(payload: Numbered, ctx: Context) -> None:
    """Keep one of the few processes for as long as it is told."""
    enter(ctx, payload)
    time.sleep(payload.pause)


@handler("flaky", payload=Numbered, timeout=2)
async def flaky(payload: Numbered, ctx: Context) -> None:
    """Fail at the first attempt."""
    enter(ctx, payload)
    if ctx.attempt == 1:
        raise RuntimeError(f"{SECRET}: the first attempt fails")


@handler("later", payload=Numbered, timeout=2)
async def later(payload: Numbered, ctx: Context) -> None:
    """Ask to be called again at once, once."""
    enter(ctx, payload)
    if ctx.attempt == 1:
        raise Retry(after=0, reason="not yet")


@handler("hopeless", payload=Numbered, timeout=2)
async def hopeless(payload: Numbered, ctx: Context) -> None:
    """Give up."""
    enter(ctx, payload)
    raise GiveUp("no use")


@handler("hang", payload=Numbered, timeout=0.5)
async def hang(payload: Numbered, ctx: Context) -> None:
    """Wait past the time limit."""
    enter(ctx, payload)
    await asyncio.sleep(60)


@handler("stuck", payload=Numbered, timeout=0.5)
def stuck(payload: Numbered, ctx: Context) -> None:
    """Block a thread past the time limit: its process has to retire."""
    enter(ctx, payload)
    threading.Event().wait(5)


@handler("exits", payload=Numbered, timeout=4, isolation="process")
def exits(payload: Numbered, ctx: Context) -> None:
    """End its process."""
    enter(ctx, payload)
    os._exit(7)


@handler("memory", payload=Numbered, timeout=4, isolation="process")
def memory(payload: Numbered, ctx: Context) -> int:
    """Take all the memory that there is."""
    enter(ctx, payload)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**31, hard))
    try:
        return sum(len(part) for part in [bytes(2**30), bytes(2**30), bytes(2**30)])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@handler("base", payload=Numbered, timeout=2)
async def base(payload: Numbered, ctx: Context) -> None:
    """Raise what ends programs."""
    enter(ctx, payload)
    raise (Odd("odd"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError())[payload.n % 4]


@handler("nojson", payload=Numbered, timeout=2)
async def nojson(payload: Numbered, ctx: Context) -> Any:
    """Return what is not JSON."""
    enter(ctx, payload)
    return (object(), float("nan"), {1: {2}}, "\0")[payload.n % 4]


@handler("big", payload=Numbered, timeout=2)
async def big(payload: Numbered, ctx: Context) -> str:
    """Return 10 MB."""
    enter(ctx, payload)
    return "x" * 10_000_000


@handler("secretive", payload=Numbered, timeout=2)
async def secretive(payload: Numbered, ctx: Context) -> None:
    """Raise with all that it knows, on several lines."""
    enter(ctx, payload)
    raise RuntimeError(f"{payload.note}\nERROR sweephand: {SECRET}")


@handler("poison", payload=Numbered, timeout=2)
async def poison(payload: Numbered, ctx: Context) -> None:
    """Kill the function that runs it."""
    enter(ctx, payload)
    os.kill(os.getpid(), signal.SIGKILL)
