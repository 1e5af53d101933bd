"""AWS Lambda's entry to the tick. The schedule's event is no request, so there is no HTTP in it."""

import contextlib
import time
from collections.abc import Mapping
from typing import Any, Protocol

from sweephand import app
from sweephand.domain.errors import SweephandError
from sweephand.domain.json_value import JsonValue

from .. import aws
from .metrics import embedded

MARGIN = 1.0
"""Seconds kept of Lambda's time limit for what follows a tick's budget: closing, reporting, answering."""


class LambdaContext(Protocol):
    """What Lambda's runtime hands to a handler, as far as it is used here."""

    function_name: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends this invocation."""
        ...


# In the init phase, which has a whole processor whatever the memory; a fault is told by the tick itself.
with contextlib.suppress(SweephandError):
    app.tick(0)
aws.started()


def handler(event: Any, context: LambdaContext) -> dict[str, JsonValue]:
    """Run one tick in what is left of the invocation, log its report and metrics as one line, return the report.

    Raises what a tick raises, so that Lambda counts an error. Where a handler is stuck the process ends, which
    counts as one too.
    """
    budget = max(0.0, context.get_remaining_time_in_millis() / 1000 - MARGIN)

    def line(report: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        return embedded(report, context.function_name, round(time.time() * 1000))

    return app.run_tick(event, budget=budget, line=line).json()
