"""A handler that only the newer version of the code has."""

from sweephand import Context, handler
from tests.chaos.handlers import Ask, enter


@handler("newer", payload=Ask, timeout=2)
async def newer(payload: Ask, ctx: Context) -> None:
    """Return at once."""
    enter(ctx, payload)
