"""What an event loop of a test still holds when it ends."""

import asyncio


async def abort_connections() -> None:
    """Close every connection of the running loop, also one that nobody serves yet.

    asyncio has no public list of them. An aborted connection closes its socket in a later turn of the loop.
    """
    for transport in list(vars(asyncio.get_running_loop())["_transports"].values()):
        transport.abort()
    for _ in range(5):
        await asyncio.sleep(0)
