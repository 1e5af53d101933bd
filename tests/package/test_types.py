"""What a type checker tells a handler's author."""

import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """\
from pydantic import BaseModel
from sweephand import Context, handler


class Hello(BaseModel):
    name: str


class Other(BaseModel):
    n: int


"""
FITS = """\
@handler("types_a", payload=Hello, timeout=5, aliases=["types_old"], upgrade=lambda stored: {**stored, "name": "x"})
async def greet(payload: Hello, ctx: Context) -> dict[str, str]:
    return {"said": payload.name}


@handler("types_b", payload=Hello)
def greet_in_thread(payload: Hello, ctx: Context) -> str:
    return payload.name


async def call(ctx: Context) -> None:
    said: dict[str, str] = await greet(Hello(name="x"), ctx)
    text: str = greet_in_thread(Hello(name="x"), ctx)
"""


def checked(folder: Path, text: str) -> str:
    """Return what strict mypy says of a user's module."""
    (folder / "handlers.py").write_text(MODULE + text)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "handlers.py"]
    cache = ["--cache-dir", str(folder.parent / "mypy-cache")]  # one for all the tests here
    return subprocess.run([*command, *cache], cwd=folder, capture_output=True, text=True, check=False).stdout


def test_a_handler_that_fits_has_no_error(tmp_path: Path) -> None:
    """A decorated function keeps its type: it is called with its payload and returns its own result."""
    assert checked(tmp_path, FITS) == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("async def f(payload: Other, ctx: Context) -> None: ...", '"Callable[[Other, Context]'),
        ("def f(payload: Other, ctx: Context) -> None: ...", '"Callable[[Other, Context]'),
        ("def f(payload: Hello) -> None: ...", '"Callable[[Hello]'),
        ("def f(payload: Hello, ctx: str) -> None: ...", '"Callable[[Hello, str]'),
    ],
    ids=["async", "thread", "one", "context"],
)
def test_a_payload_that_does_not_fit_is_an_error(tmp_path: Path, text: str, told: str) -> None:
    """A function that takes another payload than the decorator names, or no context, is an error."""
    said = checked(tmp_path, f'@handler("types_c", payload=Hello)\n{text}\n')
    assert "handlers.py:13: error: Argument 1 has incompatible type" in said
    assert told in said.replace("def [R] ", "")


def test_a_payload_is_a_model(tmp_path: Path) -> None:
    """A payload that is no pydantic model is the type checker's error too."""
    said = checked(
        tmp_path, '@handler("types_d", payload=dict)\ndef f(payload: Hello, ctx: Context) -> None: ...\n'
    )
    assert "handlers.py:13: error:" in said
