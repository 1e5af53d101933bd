"""An attempt: one start of a job, and the ways in which it can end.

Whether a handler runs in a task, a thread or a child process, the same functions turn what it does into an outcome.
"""

import json
import re
import traceback
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from pydantic import BaseModel, ValidationError

from sweephand.domain.errors import InvalidError
from sweephand.domain.handler import GiveUp, Handler, Retry
from sweephand.domain.job import MAX_ERROR, MAX_RESULT
from sweephand.domain.json_value import JsonValue, check, object_of, stored_size

# Patterns stay texts until an exception is told: compiling them would cost every function's cold start.
_FOREIGN = r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python3|^<"
"""Files whose frames a caller is not told of: libraries', and Python's own."""
_ROOTS = "app|dev|etc|home|layers|lib|mnt|opt|private|proc|root|run|srv|sys|tmp|usr|Users|var|workspace"
_FOLDERS = rf"(?<![\w/:.])/(?:{_ROOTS})/(?:[^\s/'\":,;<>()]+/)*"
"""The folders of a path of the machine. Other paths are a URL's or a pointer's, and say what is wrong."""
_REPORT = r"(?s)\n\s*\n?Debug source:.*"
"""What obstore appends to its messages: the Rust values behind the error."""
_FRAMES = 5
"""Innermost stack frames that are told of an exception."""


# A tick makes these once for each job: as frozen dataclasses they would take three times as long.
class Claim(NamedTuple):
    """A job that the index holds for one tick.

    `score` is when to look at the job, in ms of Redis' clock, as it was before the claim; `held` is the score that
    hides the job from other ticks until the hold ends, as SQS's visibility timeout hides a message.
    """

    id: str
    type: str
    priority: int
    score: int
    held: int


class Attempt(NamedTuple):
    """One start of a job, which the record has leased to this tick under `token`."""

    claim: Claim
    token: str
    type: str
    """The job's type: its handler's name, or one of the handler's aliases."""
    number: int
    """Which start of the job it is, from 1."""
    crashes: int
    """Starts before it that were lost with their function after their handlers had been entered."""
    lost: int
    """Starts before it that were lost, and of which no entry was noted."""
    max_retries: int
    late_ms: int
    """Milliseconds from when the job was due to the start call."""
    payload: Mapping[str, JsonValue]
    handler: Handler
    lease_ends: float
    """When the lease ends, in seconds of `time.monotonic()`."""
    run_by: float
    """When lease or budget gets too short for a whole run, in seconds of `time.monotonic()`."""

    @property
    def retries_used(self) -> int:
        """Attempts before this one that ended by themselves."""
        return self.number - self.crashes - self.lost - 1


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The handler returned `result`, which is `size` bytes of JSON."""

    result: JsonValue
    size: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised; `error` is the exception as text."""

    error: str


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """The handler raised `Retry(after)`, in seconds."""

    after: float
    reason: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The handler raised `GiveUp(reason)`."""

    reason: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The handler passed its time limit of `limit` seconds. `stuck`: it could not be ended and may still run."""

    limit: float
    stuck: bool


@dataclass(frozen=True, slots=True)
class PayloadInvalid:
    """The payload model refused the payload, so the handler did not run."""

    error: str


@dataclass(frozen=True, slots=True)
class NotRun:
    """Too little of the lease was left when the handler was about to run: its function had been frozen."""


Outcome: TypeAlias = Succeeded | Failed | RetryRequested | GaveUp | TimedOut | PayloadInvalid | NotRun


def validate(handler: Handler, payload: Mapping[str, JsonValue]) -> BaseModel | PayloadInvalid:
    """Return the stored payload, upgraded, as the handler's own model, or why the model refuses it."""
    try:
        if handler.upgrade is not None:
            payload = handler.upgrade(deepcopy(dict(payload)))
        return handler.payload.model_validate(payload)
    except ValidationError as e:
        refusals = [
            f"/{'/'.join(map(str, d['loc']))}: {d['msg']}" for d in e.errors(include_url=False, include_input=False)
        ]
        return PayloadInvalid("; ".join(refusals[:20]))
    except Exception as e:  # noqa: BLE001 - a model's own validators, or an upgrade, may raise anything
        return PayloadInvalid(_error_text(e))


def outcome_of_result(result: Any) -> Outcome:
    """Return the outcome of a handler that returned `result`: an error unless it is JSON of a bounded size."""
    if result is None:
        return Succeeded(None, 4)
    try:
        if isinstance(result, BaseModel):
            result = result.model_dump(mode="json")
        value: JsonValue = json.loads(json.dumps(result, allow_nan=False), object_pairs_hook=object_of)
        check(value)
        size = stored_size(value)
    except InvalidError as e:
        return Failed(f"it returned what cannot be stored: {e}")
    except Exception as e:  # noqa: BLE001 - a model's own serializers may raise anything
        return Failed(cut(f"it returned what is not JSON: {e}"))
    if size > MAX_RESULT:
        return Failed(
            f"it returned {size} bytes of JSON: at most {MAX_RESULT} are kept, put more into an object store"
        )
    return Succeeded(value, size)


def outcome_of_error(error: BaseException) -> Outcome:
    """Return the outcome of a handler that raised `error`, whatever it derives from."""
    try:
        match error:
            case Retry():
                return RetryRequested(float(error.after), str(error.reason))
            case GiveUp():
                return GaveUp(str(error.reason))
    except Exception as e:  # noqa: BLE001 - a subclass that does not call __init__ has no reason
        return Failed(_error_text(e))
    return Failed(_error_text(error))


def _error_text(error: BaseException) -> str:
    """Return the exception, then its innermost frames: a long text is cut at its end.

    Callers read the text: no path of the machine stands in it, and no frame of a library or of Python itself.
    """
    try:
        text = "".join(traceback.format_exception_only(error)).strip()
    except Exception:  # noqa: BLE001 - __str__ of a stranger's exception
        text = type(error).__name__
    own = [f for f in traceback.extract_tb(error.__traceback__) if not re.search(_FOREIGN, f.filename)]
    places = [f"  at {f.filename.rpartition('/')[2]}:{f.lineno} in {f.name}" for f in reversed(own[-_FRAMES:])]
    return cut("\n".join([_without_paths(text), *places]))


def _without_paths(text: str) -> str:
    """Return `text` without folders of the machine and without a library's own report of itself."""
    return re.sub(_FOLDERS, "…/", re.sub(_REPORT, "", text))


def cut(text: str, limit: int = MAX_ERROR) -> str:
    """Return `text` as PostgreSQL can store it, in at most `limit` bytes of UTF-8."""
    clean = text.replace("\0", "\\0").encode("utf-8", "backslashreplace")
    if len(clean) <= limit:
        return clean.decode()
    return clean[: limit - 3].decode("utf-8", "ignore") + "…"
