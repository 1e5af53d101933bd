"""What a handler did, as an outcome."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel, field_serializer, model_validator

from sweephand.domain.attempt import (
    Failed,
    GaveUp,
    PayloadInvalid,
    RetryRequested,
    Succeeded,
    outcome_of_error,
    outcome_of_result,
    validate,
)
from sweephand.domain.handler import GiveUp, Handler, Isolation, Retry
from sweephand.domain.job import MAX_ERROR, MAX_RESULT
from sweephand.domain.json_value import stored_size
from tests.domain.json_values import VALUES, plain


class Answer(BaseModel):
    """A result as a model."""

    size: int
    below: "Answer | None" = None


class Unspeakable(BaseModel):
    """A result whose model fails when it is rendered."""

    size: int

    @field_serializer("size")
    def _render(self, _size: int) -> int:
        raise RuntimeError("no")


class Broken(BaseModel):
    """A payload whose model fails."""

    @model_validator(mode="before")
    @classmethod
    def _check(cls, _value: object) -> object:
        raise KeyError("no")


NO_NUMBER: Any = object()


class MuteError(Exception):
    """An exception that cannot be told."""

    def __str__(self) -> str:
        raise RuntimeError("no")


class Bare(Retry, GiveUp):
    """A retry that was never told when or why."""

    def __init__(self) -> None:
        pass


def handler(payload: type[BaseModel]) -> Handler:
    """Return a handler for such payloads."""
    return Handler("work", payload, 1, Isolation.THREAD, lambda _payload, _ctx: None)


def caught(error: BaseException) -> BaseException:
    """Return `error` as it is when it was raised: with where it was."""
    with pytest.raises(type(error)) as found:
        raise error
    return found.value


@given(VALUES)
def test_json_result_is_kept(value: Any) -> None:
    """A handler may return any JSON value, and its size is that of the record."""
    outcome = outcome_of_result(value)
    assert isinstance(outcome, Succeeded)
    assert plain(outcome.result) == plain(value)
    assert outcome.size == stored_size(value)


def test_model_is_a_result() -> None:
    """A pydantic model is returned as its JSON, whatever it holds."""
    outcome = outcome_of_result(Answer(size=1, below=Answer(size=2)))
    assert isinstance(outcome, Succeeded)
    assert outcome.result == {"size": 1, "below": {"size": 2, "below": None}}


def test_tuple_is_a_list() -> None:
    """What the json module writes as a list is one."""
    assert outcome_of_result((1, (2,))) == Succeeded([1, [2]], 8)


def _loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "result",
    [
        object(),
        b"bytes",
        {1, 2},
        {"a": object()},
        {("a",): 1},
        float("nan"),
        [float("-inf")],
        pytest.param(10**5000, id="more digits than Python prints"),
        _loop(),
        Answer.model_construct(size=NO_NUMBER),
        Unspeakable(size=1),
    ],
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_result_that_is_no_json_is_the_handlers_error(result: object) -> None:
    """What cannot be written as JSON fails the attempt, with what the serializer said."""
    outcome = outcome_of_result(result)
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("it returned what is not JSON: ")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"a": ["\0"]}, "/a/0: U+0000"),
        ("\ud800", "a lone surrogate"),
        ({"1": "text", 1: "number"}, "the key '1' stands twice"),
    ],
)
def test_result_that_would_be_altered_is_the_handlers_error(result: object, said: str) -> None:
    """The record takes no text or object that would not come back as it was."""
    outcome = outcome_of_result(result)
    assert isinstance(outcome, Failed)
    assert said in outcome.error


def test_result_is_bounded_in_bytes() -> None:
    """64 KiB of JSON are kept, in UTF-8; one byte more fails the attempt with its size."""
    assert outcome_of_result("é" * (MAX_RESULT // 2 - 1)) == Succeeded("é" * (MAX_RESULT // 2 - 1), MAX_RESULT)
    outcome = outcome_of_result("x" * (MAX_RESULT - 1))
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith(f"it returned {MAX_RESULT + 1} bytes of JSON: at most {MAX_RESULT} are kept")


def test_result_is_bounded_as_it_is_stored() -> None:
    """Numbers count as jsonb writes them: a few KiB of exponents are no way around the bound."""
    assert isinstance(outcome_of_result([1e308] * 300), Failed)


def test_nothing_is_a_result() -> None:
    """A handler that returns nothing has the result null."""
    assert outcome_of_result(None) == Succeeded(None, 4)


def test_retry_and_give_up_are_instructions() -> None:
    """Both carry what the handler said."""
    assert outcome_of_error(Retry(5, "busy")) == RetryRequested(5, "busy")
    assert outcome_of_error(GiveUp("no such user")) == GaveUp("no such user")


def test_instruction_whose_reason_is_no_text_is_told_as_text() -> None:
    """`GiveUp(error)` is easily written, and means what the error says."""
    error: Any = ValueError("no such user")
    assert outcome_of_error(GiveUp(error)) == GaveUp("no such user")


def test_instruction_that_is_not_one_is_an_error() -> None:
    """A subclass that never called `Retry` fails its attempt, and no one else's."""
    outcome = outcome_of_error(Bare())
    assert isinstance(outcome, Failed)
    assert "'Bare' object has no attribute" in outcome.error


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf"), 366 * 24 * 3600])
def test_retry_is_bounded(after: float) -> None:
    """A retry lies between now and a year from now."""
    with pytest.raises(ValueError, match="0 to 31536000 seconds"):
        Retry(after)


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MuteError()]
)
def test_whatever_is_raised_is_an_outcome(error: BaseException) -> None:
    """No exception, not even one that ends programs or cannot be told, gets further than its attempt."""
    outcome = outcome_of_error(caught(error))
    assert isinstance(outcome, Failed)
    assert type(error).__name__ in outcome.error.splitlines()[0]


def test_error_says_where_it_was_raised() -> None:
    """The exception comes first, then the innermost frames."""
    outcome = outcome_of_error(caught(ValueError("no")))
    assert isinstance(outcome, Failed)
    first, second = outcome.error.splitlines()
    assert first == "ValueError: no"
    assert second.startswith("  at ")
    assert second.endswith(" in caught")


def test_error_is_cut() -> None:
    """However much an exception says, 2 KiB of it are kept, its beginning among them."""
    outcome = outcome_of_error(caught(ValueError("é" * 100_000)))
    assert isinstance(outcome, Failed)
    assert outcome.error.startswith("ValueError: é")
    assert len(outcome.error.encode()) <= MAX_ERROR


def test_payload_becomes_its_model() -> None:
    """A handler gets its own model."""
    assert validate(handler(Answer), {"size": 1}) == Answer(size=1)


def test_refused_payload_says_where() -> None:
    """A payload that was inserted by SQL may be wrong; the job then says where."""
    outcome = validate(handler(Answer), {"size": "big", "below": {}})
    assert isinstance(outcome, PayloadInvalid)
    assert outcome.error.startswith("/size: Input should be a valid integer")
    assert "/below/size: Field required" in outcome.error


def test_model_that_fails_refuses() -> None:
    """A model that raises something else than ValueError refuses the payload too."""
    outcome = validate(handler(Broken), {})
    assert isinstance(outcome, PayloadInvalid)
    assert outcome.error.startswith("KeyError: 'no'")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[Errno 2] No such file: '/home/me/sweephand/objects/a.png'", "[Errno 2] No such file: '…/a.png'"),
        ("cannot load /var/task/greetings.so", "cannot load …/greetings.so"),
        ("no /tmp/x/y: /usr/lib/z", "no …/y: …/z"),
        ("GET /v1/users/5 of https://example.com/home/me is 404", None),
        ("no object at s3://pictures/var/in.png", None),
        ("file:///home/x.png is no picture", None),
        ("/payload/size: too large", None),
        ("Generic error: gone\n\nDebug source:\nReqwest { url: x }", "Generic error: gone"),
    ],
)
def test_error_tells_no_path_of_the_machine(text: str, told: str | None) -> None:
    """Callers read what an attempt ended with: folders and a library's own report are left out, URLs are not."""
    outcome = outcome_of_error(caught(OSError(text)))
    assert isinstance(outcome, Failed)
    first, place = outcome.error.rsplit("\n", 1)
    assert first == f"OSError: {told or text}"
    assert re.fullmatch(r"  at test_attempt\.py:\d+ in caught", place)


def test_error_tells_no_frame_of_a_library() -> None:
    """Where in a library an error was raised is nobody's business: the handler's own line is told."""
    try:
        json.loads("{")
    except ValueError as e:
        outcome = outcome_of_error(e)
    assert isinstance(outcome, Failed)
    places = [line for line in outcome.error.splitlines() if line.startswith("  at ")]
    assert len(places) == 1
    assert places[0].startswith("  at test_attempt.py:")
