"""Handlers that had other names, and other payloads, in older code."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from sweephand import Context, handler


class Parcel(BaseModel):
    """What is sent today: `grams`; older code stored `kg`."""

    model_config = ConfigDict(extra="forbid")

    grams: int
    tags: list[str] = []


def to_grams(stored: dict[str, Any]) -> dict[str, Any]:
    """Return today's payload; one that is today's already stays as it is."""
    if "kg" in stored:
        stored["grams"] = round(stored.pop("kg") * 1000)
    if "tag" in stored:
        raise KeyError("a tag has no meaning any more")
    return stored


def _weigh(payload: Parcel) -> dict[str, int]:
    return {"grams": payload.grams}


@handler("send_parcel", payload=Parcel, timeout=5, aliases=("ship", "post.parcel"), upgrade=to_grams)
async def send_parcel(payload: Parcel, _ctx: Context) -> dict[str, int]:
    """Return the weight, on the event loop."""
    return _weigh(payload)


@handler("thread_parcel", payload=Parcel, timeout=5, aliases=["thread_ship"], upgrade=to_grams)
def thread_parcel(payload: Parcel, _ctx: Context) -> dict[str, int]:
    """Return the weight, in a thread."""
    return _weigh(payload)


@handler(
    "process_parcel", payload=Parcel, timeout=9, isolation="process", aliases=["process_ship"], upgrade=to_grams
)
def process_parcel(payload: Parcel, _ctx: Context) -> dict[str, int]:
    """Return the weight, in a child process."""
    return _weigh(payload)
