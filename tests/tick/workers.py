"""Handlers that do what handlers do to a scheduler; each notes its entry in the ledger, a file."""

import asyncio
import os
import signal
import sys
import threading
import time
from typing import Any

from pydantic import BaseModel, ConfigDict

from sweephand import Context, GiveUp, Retry, handler


class Note(BaseModel):
    """What these handlers take."""

    model_config = ConfigDict(extra="forbid")

    n: int = 0
    seconds: float = 0
    text: str = ""


def enter(ctx: Context) -> None:
    """Append this entry to the ledger, in one write."""
    with open(os.environ["LEDGER"], "ab", buffering=0) as ledger:  # noqa: PTH123 - one O_APPEND write
        ledger.write(f"{ctx.job_id} {ctx.attempt} {time.time()}\n".encode())


@handler("note", payload=Note, timeout=5)
async def note(payload: Note, ctx: Context) -> dict[str, int]:
    """Return at once."""
    enter(ctx)
    return {"n": payload.n}


@handler("in_thread", payload=Note, timeout=5)
def in_thread(payload: Note, ctx: Context) -> dict[str, Any]:
    """Run in a thread."""
    enter(ctx)
    return {"n": payload.n, "main": threading.current_thread() is threading.main_thread()}


@handler("in_process", payload=Note, timeout=10, isolation="process")
def in_process(payload: Note, ctx: Context) -> dict[str, int]:
    """Run in a child, and print what must not disturb it."""
    enter(ctx)
    print("a handler may print")  # noqa: T201
    return {"n": payload.n, "pid": os.getpid()}


@handler("slow", payload=Note, timeout=5)
async def slow(payload: Note, ctx: Context) -> None:
    """Wait as long as the payload says."""
    enter(ctx)
    await asyncio.sleep(payload.seconds)


@handler("slow_boom", payload=Note, timeout=5)
async def slow_boom(payload: Note, ctx: Context) -> dict[str, int]:
    """Wait as long as the payload says, then raise; one that does not wait returns."""
    enter(ctx)
    if not payload.seconds:
        return {"n": payload.n}
    await asyncio.sleep(payload.seconds)
    raise RuntimeError("boom")


@handler("slow_process", payload=Note, timeout=5, isolation="process")
def slow_process(payload: Note, ctx: Context) -> None:
    """Block a child as long as the payload says."""
    enter(ctx)
    time.sleep(payload.seconds)


@handler("brief", payload=Note, timeout=1)
async def brief(payload: Note, ctx: Context) -> None:
    """Wait for half of the time limit."""
    enter(ctx)
    await asyncio.sleep(0.5)


@handler("brief_thread", payload=Note, timeout=1)
def brief_thread(payload: Note, ctx: Context) -> None:
    """Block a thread for half of the time limit."""
    enter(ctx)
    time.sleep(0.5)


@handler("boom", payload=Note, timeout=5)
async def boom(payload: Note, ctx: Context) -> None:
    """Raise."""
    enter(ctx)
    raise RuntimeError(f"boom {payload.n}")


@handler("later", payload=Note, timeout=5)
async def later(payload: Note, ctx: Context) -> None:
    """Ask for a retry after the payload's seconds."""
    enter(ctx)
    raise Retry(after=payload.seconds, reason="not yet")


@handler("hopeless", payload=Note, timeout=5)
async def hopeless(payload: Note, ctx: Context) -> None:
    """Give up."""
    enter(ctx)
    raise GiveUp("no use")


@handler("longest", payload=Note, timeout=20)
async def longest(payload: Note, ctx: Context) -> None:
    """Return at once, with as long a time limit as any handler here."""
    enter(ctx)


@handler("sleepy", payload=Note, timeout=0.3)
async def sleepy(payload: Note, ctx: Context) -> None:
    """Wait past the time limit, and let itself be cancelled."""
    enter(ctx)
    await asyncio.sleep(60)


@handler("stubborn", payload=Note, timeout=0.3)
async def stubborn(payload: Note, ctx: Context) -> None:
    """Wait past the time limit, and ignore every cancellation."""
    enter(ctx)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            continue


@handler("stuck_thread", payload=Note, timeout=0.3)
def stuck_thread(payload: Note, ctx: Context) -> None:
    """Block past the time limit in a thread."""
    enter(ctx)
    threading.Event().wait(30)


@handler("stuck_process", payload=Note, timeout=1.5, isolation="process")
def stuck_process(payload: Note, ctx: Context) -> None:
    """Block past the time limit in a child."""
    enter(ctx)
    threading.Event().wait(60)


@handler("exits", payload=Note, timeout=10, isolation="process")
def exits(payload: Note, ctx: Context) -> None:
    """End its process."""
    enter(ctx)
    os._exit(7)


@handler("quits", payload=Note, timeout=5)
async def quits(payload: Note, ctx: Context) -> None:
    """Raise what would end a program."""
    enter(ctx)
    raise (SystemExit(3) if payload.n else KeyboardInterrupt)


@handler("quits_thread", payload=Note, timeout=5)
def quits_thread(payload: Note, ctx: Context) -> None:
    """Raise in a thread what would end a program."""
    enter(ctx)
    raise (SystemExit(3) if payload.n else KeyboardInterrupt)


@handler("returns", payload=Note, timeout=5)
async def returns(payload: Note, ctx: Context) -> Any:
    """Return what cannot be kept."""
    enter(ctx)
    return {"object": object(), "nan": float("nan"), "big": "x" * 70_000, "nul": "\0"}[payload.text]


@handler("poison", payload=Note, timeout=5)
async def poison(payload: Note, ctx: Context) -> None:
    """Kill the function that runs it."""
    enter(ctx)
    os.kill(os.getpid(), signal.SIGKILL)


if os.environ.get("SLOW_CHILD") and "sweephand.child" in sys.orig_argv:
    time.sleep(float(os.environ["SLOW_CHILD"]))


@handler("short_process", payload=Note, timeout=0.5, isolation="process")
def short_process(_payload: Note, ctx: Context) -> None:
    """Return at once, with little time."""
    enter(ctx)
