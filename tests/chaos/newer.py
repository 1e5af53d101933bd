"""A handler that only the newer version of the code has."""

from sweephand import Context, handler
from tests.chaos.handlers import ClaimOptions, enter


@handler("newer", payload=ClaimOptions, timeout=2)
async def newer(payload: ClaimOptions, ctx: Context) -> None:
    """Return at once."""
    enter(ctx, payload)
