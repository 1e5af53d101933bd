"""Which handlers there are: the decorator that adds one, and the loader that imports a deployment's."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from shared.domain.handler import NAME, Handler, Isolation

BUILT_IN = (
    "shared.handlers.email_notification",
    "shared.handlers.resize_image",
    "shared.handlers.generate_pdf",
)
_registered: dict[str, Handler] = {}

Run = TypeVar("Run", bound=Callable[..., Any])


def handler(
    name: str,
    *,
    payload: type[BaseModel],
    timeout: float = 30,
    isolation: str | None = None,
) -> Callable[[Run], Run]:
    """Make the decorated function the handler of jobs whose `type` is `name`.

    `name`: 1 to 64 of `a-z 0-9 _ . -`, first a letter. `payload`: the pydantic model that validates
    payloads, when a job is created and again before it runs. `timeout`: seconds, more than 0 and at most
    what a tick may take. `isolation`: `"async"` (the default of an `async def`), `"thread"` (the default of
    a `def`) or `"process"` (a `def` that is killed at its time limit: for CPU-heavy or untrusted work).

    Raises `ValueError` for a bad name, time limit or isolation, and for a name that is taken.
    """
    if not NAME.match(name):
        raise ValueError(f"handler name {name!r}: 1 to 64 of a-z 0-9 _ . -, first a letter")
    if not timeout > 0:
        raise ValueError(f"handler {name}: timeout must be more than 0 seconds")

    def register(run: Run) -> Run:
        made = Handler(name, payload, timeout, _isolation(name, run, isolation), run)
        taken = _registered.get(name)
        if taken is not None and _origin(taken.run) != _origin(run):
            raise ValueError(f"handler {name}: {_origin(taken.run)} and {_origin(run)} both want the name")
        _registered[name] = made
        return run

    return register


def load(modules: Iterable[str]) -> Mapping[str, Handler]:
    """Import the built-in handlers and `modules` (dotted names), and return every handler by its name.

    Raises `ModuleNotFoundError` for a module that is not there, and what `handler` raises.
    """
    for module in (*BUILT_IN, *modules):
        importlib.import_module(module)
    return dict(_registered)


def _isolation(name: str, run: Callable[..., Any], asked: str | None) -> Isolation:
    is_async = inspect.iscoroutinefunction(run)
    chosen = Isolation(asked) if asked else Isolation.ASYNC if is_async else Isolation.THREAD
    if is_async != (chosen is Isolation.ASYNC):
        kind = "async def" if is_async else "def"
        raise ValueError(f"handler {name}: isolation={chosen.value!r} does not fit {kind}")
    return chosen


def _origin(run: Callable[..., Any]) -> str:
    return f"{run.__module__}.{run.__qualname__}"
