"""A handler that only the newer version of the code has."""

from sweephand import Context, handler
from tests.chaos.handlers import Numbered, enter


@handler("newer", payload=Numbered, timeout=2)
async def newer(payload: Numbered, ctx: Context) -> None:
    """Return at once."""
    enter(ctx, payload)
