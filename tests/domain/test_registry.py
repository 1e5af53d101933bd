"""Which handlers there are."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sweephand.domain.handler import Isolation
from sweephand.handlers import registry
from sweephand.handlers.registry import handler, load

BUILT_IN = {"email_notification", "generate_pdf", "http_request", "resize_image"}


class Payload(BaseModel):
    """Any payload."""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a test registers to itself; the built-in ones, which are imported once, stay for others."""
    load(())
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


def work(_payload: Any, _ctx: Any) -> None:
    """Do nothing."""


async def wait(_payload: Any, _ctx: Any) -> None:
    """Do nothing, on the event loop."""


def test_built_in_handlers_are_always_there() -> None:
    """A deployment without HANDLERS has the four that come with Sweephand."""
    assert set(load(())) >= BUILT_IN


def test_module_adds_its_handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that HANDLERS names registers what it decorates."""
    (tmp_path / "my_handlers.py").write_text(
        "from pydantic import BaseModel\n"
        "from sweephand import handler\n\n\n"
        "class Hello(BaseModel):\n    name: str\n\n\n"
        '@handler("say_hello", payload=Hello, timeout=5)\n'
        "async def say_hello(payload, ctx):\n    return payload.name\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_handlers", raising=False)
    made = load(["my_handlers"])["say_hello"]
    assert (made.name, made.timeout, made.isolation) == ("say_hello", 5, Isolation.ASYNC)


def test_missing_module_is_named() -> None:
    """A misspelled module is an error at start-up that says which."""
    with pytest.raises(ModuleNotFoundError, match="no_such_handlers"):
        load(["no_such_handlers"])


@pytest.mark.parametrize(
    ("run", "asked", "isolation"),
    [
        (wait, None, Isolation.ASYNC),
        (work, None, Isolation.THREAD),
        (wait, "async", Isolation.ASYNC),
        (work, "thread", Isolation.THREAD),
        (work, "process", Isolation.PROCESS),
    ],
)
def test_isolation_follows_the_function(run: Callable[..., Any], asked: str | None, isolation: Isolation) -> None:
    """`async def` runs on the event loop, `def` in a thread, or in a process when asked."""
    handler("mine", payload=Payload, isolation=asked)(run)
    assert load(())["mine"].isolation is isolation


@pytest.mark.parametrize(("run", "asked"), [(wait, "thread"), (wait, "process"), (work, "async"), (work, "fibre")])
def test_isolation_that_does_not_fit_is_refused(run: Callable[..., Any], asked: str) -> None:
    """What could not run as asked is an error at start-up."""
    with pytest.raises(ValueError, match=asked):
        handler("mine", payload=Payload, isolation=asked)(run)


@pytest.mark.parametrize("name", ["", "Mine", "1st", "a b", "a/b", "a:b", "é", "a\n", "a" * 65])
def test_name_is_one_that_every_part_can_carry(name: str) -> None:
    """A name is part of a key in Redis and of a check in PostgreSQL."""
    with pytest.raises(ValueError, match="first a letter"):
        handler(name, payload=Payload)


@pytest.mark.parametrize("name", ["a", "send_mail-2.0", "a" * 64])
def test_ordinary_names_are_taken(name: str) -> None:
    """Letters, digits, `_`, `.` and `-` are enough."""
    handler(name, payload=Payload)(work)
    assert load(())[name].run is work


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_time_limit_is_more_than_nothing(timeout: float) -> None:
    """A handler without time could never succeed."""
    with pytest.raises(ValueError, match="more than 0 seconds"):
        handler("mine", payload=Payload, timeout=timeout)


def test_name_belongs_to_one_function() -> None:
    """Two functions that want one name are told of one another; importing one twice is no conflict."""
    handler("mine", payload=Payload)(work)
    handler("mine", payload=Payload)(work)
    with pytest.raises(
        ValueError, match=r"test_registry.work \(.+:\d+\) and .*test_registry.wait \(.+:\d+\) both want"
    ):
        handler("mine", payload=Payload)(wait)


def test_function_stays_itself() -> None:
    """The decorator hands the function back, to be called and tested as it is."""
    assert handler("mine", payload=Payload)(work) is work


MODULE = """\
from collections.abc import Callable
from pydantic import BaseModel
from sweephand import handler


class Hello(BaseModel):
    name: str


class Odd(BaseModel):
    call: Callable[[int], str]


"""


def _refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """Return why a module of this text is refused, with its path left out."""
    (tmp_path / "wrong.py").write_text(MODULE + text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wrong", raising=False)
    with pytest.raises((ValueError, ImportError)) as refused:
        load(["wrong"])
    return str(refused.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "import no_such_library\n",
            "ModuleNotFoundError: No module named 'no_such_library' (wrong.py:14)",
        ),
        ("from pydantic import NoSuchName\n", "ImportError: cannot import name 'NoSuchName'"),
        (
            "1 / 0\n",
            "wrong cannot be imported: ZeroDivisionError: division by zero (wrong.py:14)",
        ),
        ("def f(:\n", "SyntaxError: invalid syntax (wrong.py:14)"),
        ("raise SystemExit(0)\n", "wrong cannot be imported: SystemExit: 0 (wrong.py:14)"),
        ("raise ValueError('handlers')\n", "ValueError: handlers (wrong.py:14)"),
    ],
    ids=["library", "name", "error", "syntax", "exit", "value"],
)
def test_module_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    """What a module broke off with is told with the file and the line, whatever it is."""
    said = _refused(tmp_path, monkeypatch, text)
    assert told in said
    assert "wrong.py:14" in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '@handler("a", payload=Hello)\ndef f(p, c): ...\n\n\n@handler("a", payload=Hello)\ndef f(p, c): ...\n',
            "handler a: wrong.f (wrong.py:14) and wrong.f (wrong.py:18) both",
        ),
        (
            '@handler("a", payload=Odd)\ndef f(p, c): ...\n',
            "handler a: its payload model Odd cannot be a JSON schema",
        ),
        ('@handler("a", payload=dict)\ndef f(p, c): ...\n', "handler a: payload must be a pydantic model"),
        (
            '@handler("a", payload=Hello)\nasync def f(p): ...\n',
            "handler a: wrong.f must take two arguments",
        ),
        ('@handler("a", payload=Hello)\ndef f(): ...\n', "handler a: wrong.f must take two arguments"),
        ('@handler("a", payload=Hello)\ndef f(p, c, *, more): ...\n', "wrong.f must take two arguments"),
        ('@handler("A", payload=Hello)\ndef f(p, c): ...\n', "handler name 'A'"),
        ('@handler("a", payload=Hello, timeout=0)\ndef f(p, c): ...\n', "handler a: timeout must be more than 0"),
        (
            '@handler("a", payload=Hello, isolation="thread")\nasync def f(p, c): ...\n',
            "handler a: isolation='thread'",
        ),
        ('@handler("a", payload=Hello, isolation="fibre")\ndef f(p, c): ...\n', "handler a: isolation='fibre'"),
    ],
    ids=["twice", "schema", "dict", "async", "none", "keyword", "name", "timeout", "isolation", "kind"],
)
def test_handler_that_cannot_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str) -> None:
    """What could never run is refused when it is loaded, by the handler's name and with its file and line."""
    said = _refused(tmp_path, monkeypatch, text)
    assert told in said
    assert "wrong.py:1" in said


def test_payload_may_be_declared_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model may name classes that stand further down: its schema is looked at when all is loaded."""
    text = "class Outer(BaseModel):\n    inner: 'Inner'\n\n\n@handler('a', payload=Outer)\ndef f(p, *args): ...\n"
    (tmp_path / "late_handlers.py").write_text(MODULE + text + "\n\nclass Inner(BaseModel):\n    name: str\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "late_handlers", raising=False)
    assert load(["late_handlers"])["a"].timeout == 30


def test_a_handler_is_found_by_its_former_names() -> None:
    """Each alias leads to the same handler as the name."""
    handler("mine", payload=Payload, aliases=["my_old", "older"])(work)
    found = load(())
    assert found["my_old"] is found["older"] is found["mine"]
    assert (found["mine"].name, found["mine"].aliases) == ("mine", ("my_old", "older"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"aliases": "old"}, "aliases must be a list of names, not 'old'"),
        ({"aliases": ["Old"]}, "alias 'Old': 1 to 64 of a-z"),
        ({"aliases": [1]}, "alias 1: 1 to 64 of a-z"),
        ({"aliases": ["mine"]}, "aliases must differ"),
        ({"aliases": ["a", "a"]}, "aliases must differ"),
        ({"upgrade": {}}, "upgrade must be a function of the stored payload"),
    ],
)
def test_a_history_that_cannot_be_is_refused(settings: dict[str, Any], told: str) -> None:
    """What could not be a former name or an upgrade is an error at start-up, with the file and the line."""
    with pytest.raises(ValueError, match=told) as refused:
        handler("mine", payload=Payload, **settings)
    assert "test_registry.py:" in str(refused.value)


def test_a_former_name_belongs_to_one_function() -> None:
    """A former name that another handler has, as a name or as an alias, is refused, and nothing is registered."""
    handler("mine", payload=Payload, aliases=["old"])(work)
    for name, aliases in (("old", []), ("other", ["mine"]), ("other", ["old"])):
        with pytest.raises(ValueError, match=r"handler (mine|old): .* both want the name"):
            handler(name, payload=Payload, aliases=aliases)(wait)
    assert "other" not in load(())


def test_a_function_leads_to_its_handler() -> None:
    """The handler of a decorated function is found; another function has none."""
    handler("mine", payload=Payload)(work)
    assert registry.handler_of(work).name == "mine"
    with pytest.raises(ValueError, match=r"test_registry.wait is no handler: decorate it with @handler"):
        registry.handler_of(wait)
