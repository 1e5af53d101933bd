"""What a handler did, as an outcome: the same in a task, a thread and a child process."""

import json
import re
import traceback
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import BaseModel, ValidationError

from sweephand.domain.errors import InvalidError
from sweephand.domain.handler import GiveUp, Handler, Retry
from sweephand.domain.job import MAX_RESULT
from sweephand.domain.json_value import JsonValue, check, object_of, stored_size
from sweephand.domain.outcome import Failed, GaveUp, Outcome, PayloadInvalid, RetryRequested, Succeeded
from sweephand.domain.retry_policy import cut

_FOREIGN = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python3|^<")
"""Files whose frames a caller is not told of: libraries', and Python's own."""
_ROOTS = "app|dev|etc|home|layers|lib|mnt|opt|private|proc|root|run|srv|sys|tmp|usr|Users|var|workspace"
_FOLDERS = re.compile(rf"(?<![\w/:.])/(?:{_ROOTS})/(?:[^\s/'\":,;<>()]+/)*")
"""The folders of a path of the machine. Other paths are a URL's or a pointer's, and say what is wrong."""
_REPORT = re.compile(r"\n\s*\n?Debug source:.*", re.DOTALL)
"""What obstore appends to its messages: the Rust values behind the error."""
_FRAMES = 5
"""Innermost stack frames that are told of an exception."""


def admitted(handler: Handler, payload: Mapping[str, JsonValue]) -> BaseModel | PayloadInvalid:
    """Return the stored payload, upgraded, as the handler's own model, or why the model refuses it."""
    try:
        if handler.upgrade is not None:
            payload = handler.upgrade(deepcopy(dict(payload)))
        return handler.payload.model_validate(payload)
    except ValidationError as e:
        said = [
            f"/{'/'.join(map(str, d['loc']))}: {d['msg']}" for d in e.errors(include_url=False, include_input=False)
        ]
        return PayloadInvalid("; ".join(said[:20]))
    except Exception as e:  # noqa: BLE001 - a model's own validators, or an upgrade, may raise anything
        return PayloadInvalid(_told(e))


def returned(result: Any) -> Outcome:
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


def raised(error: BaseException) -> Outcome:
    """Return the outcome of a handler that raised `error`, whatever it derives from."""
    try:
        match error:
            case Retry():
                return RetryRequested(float(error.after), str(error.reason))
            case GiveUp():
                return GaveUp(str(error.reason))
    except Exception as e:  # noqa: BLE001 - a subclass that does not call __init__ has no reason
        return Failed(_told(e))
    return Failed(_told(error))


def _told(error: BaseException) -> str:
    """Return the exception and its innermost frames, the exception first: the end is what gets cut.

    Callers read it: so no path of the machine stands in it, and no frame of a library or of Python itself.
    """
    try:
        said = "".join(traceback.format_exception_only(error)).strip()
    except Exception:  # noqa: BLE001 - __str__ of a stranger's exception
        said = type(error).__name__
    own = [f for f in traceback.extract_tb(error.__traceback__) if not _FOREIGN.search(f.filename)]
    places = [f"  at {f.filename.rpartition('/')[2]}:{f.lineno} in {f.name}" for f in reversed(own[-_FRAMES:])]
    return cut("\n".join([_without_paths(said), *places]))


def _without_paths(text: str) -> str:
    """Return `text` without folders of the machine and without a library's own report of itself."""
    return _FOLDERS.sub("…/", _REPORT.sub("", text))
