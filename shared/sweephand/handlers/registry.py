"""Which handlers there are: the decorator that adds one, and the loader that imports a deployment's."""

import importlib
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel

from sweephand.domain.handler import NAME, Context, Handler, Isolation, Upgrade

BUILT_IN = (
    "sweephand.handlers.email_notification",
    "sweephand.handlers.resize_image",
    "sweephand.handlers.generate_pdf",
    "sweephand.handlers.http_request",
)
_registered: dict[str, Handler] = {}
"""Every handler by its name, and again by each of its aliases."""

P = TypeVar("P", bound=BaseModel)
R = TypeVar("R")
_Run: TypeAlias = Callable[[P, Context], R]


def handler(  # noqa: PLR0913 - each is one setting of the handler, by name
    name: str,
    *,
    payload: type[P],
    timeout: float = 30,
    isolation: str | None = None,
    aliases: Sequence[str] = (),
    upgrade: Upgrade | None = None,
    heeds_deadline: bool = False,
) -> Callable[[_Run[P, R]], _Run[P, R]]:
    """Make the decorated function the handler of jobs whose `type` is `name`.

    `name`: 1 to 64 of `a-z 0-9 _ . -`, first a letter. `payload`: the pydantic model that validates
    payloads, when a job is created and again before it runs. `timeout`: seconds, more than 0 and at most
    what a tick may take. `isolation`: `"async"` (the default of an `async def`), `"thread"` (the default of
    a `def`) or `"process"` (a `def` that is killed at its time limit: for CPU-heavy or untrusted work).
    `aliases`: former names; jobs of these types run by this handler. `upgrade`: gets a copy of each stored payload
    before a run, whatever code stored it, and returns what `payload` takes today.
    `heeds_deadline`: it ends by itself before its context's deadline, so a tick whose budget is shorter than
    `timeout` gives it less time.

    Raises `ValueError`, with the function's file and line, for a bad name, payload, time limit, isolation or
    upgrade, for a function that takes other than payload and context, and for a name that is taken.
    """
    caller = inspect.stack(context=0)[1]
    wrong = _wrong(name, payload, timeout) or _wrong_history(name, aliases, upgrade)
    if wrong:
        raise ValueError(f"handler {wrong} ({caller.filename}:{caller.lineno})")

    def register(run: _Run[P, R]) -> _Run[P, R]:
        _check_takes_two(name, run)
        made = Handler(
            *(name, payload, timeout, _isolation(name, run, isolation), run),
            tuple(aliases),
            upgrade,
            heeds_deadline,
        )
        for type_ in (name, *aliases):
            _check_free(type_, run)
        _registered.update(dict.fromkeys((name, *aliases), made))
        return run

    return register


def handler_of(run: Callable[..., Any]) -> Handler:
    """Return the handler that a decorated function is; raises `ValueError` for a function that is none."""
    for each in _registered.values():
        if each.run is run:
            return each
    raise ValueError(f"{_origin(run)} is no handler: decorate it with @handler ({_place(run)})")


def load(modules: Iterable[str]) -> Mapping[str, Handler]:
    """Import the built-in handlers and `modules` (dotted names); return every handler by its name and its aliases.

    Raises `ModuleNotFoundError` for a module that is not there, `ImportError` for one that cannot be imported, what
    `handler` raises, and `ValueError` for a payload model that has no schema; each names the file and line.
    """
    for module in BUILT_IN:
        importlib.import_module(module)
    for module in modules:
        _import(module)
    for each in _registered.values():
        if each.run.__module__ not in BUILT_IN:
            _check_schema(each)
    return dict(_registered)


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as e:
        if isinstance(e, ModuleNotFoundError) and e.name and f"{module}.".startswith(f"{e.name}."):
            raise
        if isinstance(e, ValueError) and e.args and str(e.args[0]).startswith("handler "):
            raise  # it is `handler`'s own, and names the place
        said = f"{type(e).__name__}: {e.msg if isinstance(e, SyntaxError) else e}"
        raise ImportError(f"{module} cannot be imported: {said} ({_raised_at(e)})") from e


def _raised_at(error: BaseException) -> str:
    """Return where a module broke off: the innermost line that is no machinery of the import."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    own = [f for f in frames if f.filename not in {__file__, importlib.__file__}]
    last = (own or frames)[-1]
    return f"{last.filename}:{last.lineno}"


def _check_schema(handler: Handler) -> None:
    """Refuse a payload model that cannot be told to callers, or that pydantic could not finish."""
    try:
        handler.payload.model_json_schema()
    except Exception as e:
        said = str(e).partition("\n")[0]
        raise ValueError(
            f"handler {handler.name}: its payload model {handler.payload.__name__} cannot be a JSON schema: {said} "
            f"({_place(handler.run)})"
        ) from e


def _wrong(name: object, payload: object, timeout: float) -> str | None:
    """Return what is wrong with what the decorator was given."""
    if not isinstance(name, str) or not NAME.match(name):
        return f"name {name!r}: 1 to 64 of a-z 0-9 _ . -, first a letter"
    if not (isinstance(payload, type) and issubclass(payload, BaseModel)):
        return f"{name}: payload must be a pydantic model, a class, not {payload!r}"
    if not timeout > 0:
        return f"{name}: timeout must be more than 0 seconds"
    return None


def _wrong_history(name: str, aliases: object, upgrade: object) -> str | None:
    """Return what is wrong with the aliases or the upgrade."""
    if isinstance(aliases, str) or not isinstance(aliases, Sequence):
        return f"{name}: aliases must be a list of names, not {aliases!r}"
    for alias in aliases:
        if not isinstance(alias, str) or not NAME.match(alias):
            return f"{name}: alias {alias!r}: 1 to 64 of a-z 0-9 _ . -, first a letter"
    if len({name, *aliases}) <= len(aliases):
        return f"{name}: aliases must differ from each other and from the name"
    if upgrade is not None and not callable(upgrade):
        return f"{name}: upgrade must be a function of the stored payload, not {upgrade!r}"
    return None


def _check_free(type_: str, run: Callable[..., Any]) -> None:
    """Refuse a name or an alias that another function has; importing one function twice is no conflict."""
    taken = _registered.get(type_)
    if taken is not None and (_origin(taken.run), _place(taken.run)) != (_origin(run), _place(run)):
        raise ValueError(
            f"handler {type_}: {_origin(taken.run)} ({_place(taken.run)}) and {_origin(run)} ({_place(run)}) "
            "both want the name"
        )


def _check_takes_two(name: str, run: Callable[..., Any]) -> None:
    """Refuse a function that could never be called with the payload and the context."""
    try:
        inspect.signature(run).bind(object(), object())
    except TypeError:
        said = f"{_origin(run)} must take two arguments, the payload and the context"
        raise ValueError(f"handler {name}: {said} ({_place(run)})") from None


def _isolation(name: str, run: Callable[..., Any], asked: str | None) -> Isolation:
    is_async = inspect.iscoroutinefunction(run)
    if asked and asked not in list(Isolation):
        raise ValueError(f"handler {name}: isolation={asked!r} is none of {', '.join(Isolation)} ({_place(run)})")
    chosen = Isolation(asked) if asked else Isolation.ASYNC if is_async else Isolation.THREAD
    if is_async != (chosen is Isolation.ASYNC):
        kind = "async def" if is_async else "def"
        raise ValueError(f"handler {name}: isolation={chosen.value!r} does not fit {kind} ({_place(run)})")
    return chosen


def _origin(run: Callable[..., Any]) -> str:
    return f"{run.__module__}.{getattr(run, '__qualname__', type(run).__qualname__)}"


def _place(run: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(run), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else _origin(run)
