"""What benchmark jobs do: nothing, and a wait of 10 ms as for an answer from elsewhere."""

import asyncio

from pydantic import BaseModel

from sweephand import Context, handler


class Empty(BaseModel):
    """No payload."""


@handler("noop", payload=Empty, timeout=30)
async def noop(_payload: Empty, _ctx: Context) -> None:
    """Return at once."""


@handler("io_10_ms", payload=Empty, timeout=30)
async def io_10_ms(_payload: Empty, _ctx: Context) -> None:
    """Wait for 10 ms."""
    await asyncio.sleep(0.01)


@handler("fails_once", payload=Empty, timeout=30)
async def fails_once(_payload: Empty, ctx: Context) -> None:
    """Fail at the first attempt."""
    if ctx.attempt == 1:
        raise RuntimeError("as it is meant to")
