"""Attempts as tests need them."""

from typing import Any

from pydantic import BaseModel

from sweephand.domain.attempt import Attempt, Claim
from sweephand.domain.handler import Handler, Isolation

HANDLER = Handler("work", BaseModel, 1, Isolation.ASYNC, lambda _payload, _ctx: None)


def attempt(number: int = 1, crashes: int = 0, max_retries: int = 3, lost: int = 0, **fields: Any) -> Attempt:
    """Return an attempt with these counters; by default its job's id is "0", and its lease never ends."""
    made = Attempt(
        claim=Claim("0", "work", 0, 0, 0),
        token="token",
        type="work",
        number=number,
        crashes=crashes,
        lost=lost,
        max_retries=max_retries,
        late_ms=0,
        payload={},
        handler=HANDLER,
        lease_ends=float("inf"),
        run_by=float("inf"),
    )
    return made._replace(**fields)
