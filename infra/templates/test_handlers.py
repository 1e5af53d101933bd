"""Tests of the handlers: each runs one attempt, with mail and objects in memory."""

from handlers import greet

from sweephand.testing import run


def test_greeting_somebody_says_hello() -> None:
    """The result greets by name, and the log tells of it."""
    ran = run(greet, {"name": "Ada"})
    assert ran.result == {"said": "Hello, Ada!"}
    assert ran.log == ["INFO greeting Ada"]
