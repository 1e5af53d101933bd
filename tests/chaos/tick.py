"""`sweephand tick` with a fault planned into it: `python -m tests.chaos.tick [options]`.

CHAOS holds the plan as JSON. The product knows nothing of it: what the tick asks of the record and the index, and
the entering of a handler, are wrapped here.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from infra.cli import app as cli
from sweephand import app
from sweephand.usecases.tick import budget, claim

STEPS = (
    *(
        "restore.before",
        "restore.after",
        "claim.before",
        "claim.after",
        "start.before",
        "start.after",
        "enter.before",
    ),
    *("settle.before", "settle.after"),
)
"""Where a tick can be struck: before it asks, after it was answered, and as it enters a handler."""


@dataclass(frozen=True)
class Plan:
    """What is to befall one tick."""

    step: str = ""
    """One of STEPS, or none."""
    nth: int = 1
    """At which pass of that step."""
    signal: int = signal.SIGKILL
    skew: float = 0
    """Seconds that this function's clock is fast."""
    lease_margin_ms: int | None = None
    hold_ms: int | None = None

    def environment(self) -> dict[str, str]:
        """Return what hands the plan to the process."""
        return {"CHAOS": json.dumps(asdict(self))}


class Striker:
    """Strikes this process at the planned moment."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._passes = 0

    def at(self, step: str) -> None:
        """Pass a step."""
        if step == self._plan.step:
            self._passes += 1
            if self._passes == self._plan.nth:
                os.kill(os.getpid(), self._plan.signal)
                time.sleep(
                    0.05
                )  # another thread may be the one that is interrupted: be stopped here, not further on

    def around(self, call: Callable[..., Any], step: str) -> Callable[..., Any]:
        """Return `call` between its two steps."""

        def struck(*args: Any, **named: Any) -> Any:
            self.at(f"{step}.before")
            answer = call(*args, **named)
            self.at(f"{step}.after")
            return answer

        return struck


def arrange(plan: Plan) -> None:
    """Put the plan into this process's app."""
    striker = Striker(plan)
    if plan.lease_margin_ms is not None:
        budget.LEASE_MARGIN_MS = plan.lease_margin_ms
    if plan.hold_ms is not None:
        claim.HOLD_MS = plan.hold_ms
    if plan.skew:
        real, real_ns = time.time, time.time_ns
        time.time = lambda: real() + plan.skew
        time.time_ns = lambda: real_ns() + int(plan.skew * 1e9)
    if not plan.step:
        return
    record: Any = app.record()
    for name in ("restore", "start", "settle"):
        setattr(record, name, striker.around(getattr(record, name), name))
    index: Any = app.index()
    index.sync_and_claim = striker.around(index.sync_and_claim, "claim")
    context = app.context

    def entered(*args: Any) -> Any:
        striker.at("enter.before")
        return context(*args)

    vars(app)["context"] = entered


if __name__ == "__main__":
    arrange(Plan(**json.loads(os.environ["CHAOS"])))
    sys.argv = ["sweephand", "--verbose", "tick", *sys.argv[1:]]
    cli.main()
