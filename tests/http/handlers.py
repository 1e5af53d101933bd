"""A handler for the tests of the HTTP interface, named in HANDLERS: its payloads may be anything."""

from pydantic import BaseModel, ConfigDict

from sweephand import Context, handler


class Anything(BaseModel):
    """A payload of any fields."""

    model_config = ConfigDict(extra="allow")


@handler("anything", payload=Anything)
async def anything(_payload: Anything, _ctx: Context) -> None:
    """Do nothing: these tests run no job."""
