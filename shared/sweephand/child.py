"""A child process of the tick. It runs handlers one after another for its parent, `adapters/run_process.py`.

python -m sweephand.child
"""

import ctypes
import dataclasses
import json
import os
import signal
import sys
from typing import Any

from sweephand import app
from sweephand.adapters import label_output
from sweephand.adapters.run_thread import in_thread
from sweephand.domain.attempt import Attempt, Claim
from sweephand.domain.handler import Handler


def main() -> None:
    """Run handlers until the parent closes the pipe or ends."""
    end_with_parent()
    answers = os.dup(1)
    os.dup2(2, 1)  # a handler's prints must not mix with the answers
    if label_output.wanted():
        label_output.install()
    handlers = app.handlers()
    perform = in_thread(app.context)
    os.write(answers, bytes(4))  # an empty message: ready
    while request := _message(sys.stdin.fileno()):
        outcome = perform(_attempt(request, handlers[request["type"]]))
        body = json.dumps({"kind": type(outcome).__name__} | dataclasses.asdict(outcome)).encode()
        os.write(answers, len(body).to_bytes(4, "big") + body)


def _attempt(request: dict[str, Any], handler: Handler) -> Attempt:
    """Return the attempt of a request; the parent keeps what only the settling needs."""
    return Attempt(
        claim=Claim(request["job_id"], request["type"], priority=0, score=0, held=0),
        token="",
        type=request["type"],
        number=request["attempt"],
        crashes=0,
        lost=0,
        max_retries=0,
        late_ms=0,
        payload=request["payload"],
        handler=handler,
        lease_ends=request["run_by"],
        run_by=request["run_by"],
    )


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends in any way. Only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)
        if os.getppid() == 1:
            sys.exit()


def _message(pipe: int) -> dict[str, Any] | None:
    head = _read(pipe, 4)
    if not head:
        return None
    message: dict[str, Any] = json.loads(_read(pipe, int.from_bytes(head, "big")))
    return message


def _read(pipe: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = os.read(pipe, size - len(data))
        if not chunk:
            return b""
        data += chunk
    return data


if __name__ == "__main__":
    main()
