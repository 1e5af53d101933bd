"""JSON kept by value: what is accepted comes back equal, or was refused with the reason.

PostgreSQL's jsonb holds any decimal number but no U+0000; Python's float holds 17 digits; a JavaScript client
reads every number as a float. A number is therefore accepted when a 64-bit integer or an IEEE 754 double holds
it exactly as written, as RFC 8259 section 6 advises for interoperability. How it is spelled does not count: 1e2
is the integer 100, and 1e300 may come back with its 300 zeros.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain, islice
from typing import NoReturn, TypeAlias

from sweephand.domain.errors import FieldError, InvalidError, NotJsonError

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None

MAX_DEPTH = 64
"""Levels of nesting: what jsonb, every parser and every reader can take."""
MAX_FAULTS = 100
"""Faults that are told of one value: an answer stays small however much is wrong."""
MAX_POINTER = 1000
"""Characters of a pointer; keys are the caller's, and as long as a body."""
_MAX_DIGITS = 400
"""Digits of an integer that are looked at as such: the largest double has 309."""
_as_stored = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": ")).encode
_EXPONENT = re.compile(r"\de[+-]\d")
"""What Python writes of a float that jsonb writes otherwise; in a text it may stand, too."""
_INT_RANGE = range(-(2**63), 2**64)


class _RefusedNumber(ValueError):  # noqa: N818 - never leaves this file
    pass


class _Duplicate(dict[str, JsonValue]):
    """An object that had a key twice, which Python's parser would have dropped silently."""

    twice: str


def parse(text: bytes) -> JsonValue:
    """Parse a request's body.

    Raises `NotJsonError` for what is no JSON text in UTF-8 (NaN and Infinity are none),
    `InvalidError` for a value that would not come back as it was sent.
    """
    try:
        value: JsonValue = json.loads(
            text.decode("utf-8"),
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
            object_pairs_hook=object_of,
        )
    except UnicodeDecodeError as e:
        raise NotJsonError("The body is not UTF-8.") from e
    except RecursionError as e:
        raise InvalidError([FieldError("", f"nested deeper than {MAX_DEPTH} levels")]) from e
    except _RefusedNumber as e:
        raise InvalidError([FieldError("", str(e))]) from e
    except json.JSONDecodeError as e:
        raise NotJsonError(f"The body is not JSON: {e.msg} at line {e.lineno}, column {e.colno}.") from e
    check(value)
    return value


def check(value: JsonValue) -> None:
    """Raise `InvalidError` for nesting, text or objects that jsonb or a client could not hold."""
    if not _sound(value):
        raise InvalidError(list(islice(_faults(value), MAX_FAULTS)))


def stored_size(value: JsonValue) -> int:
    """Return the bytes of `value` as jsonb writes it: without exponents, so that 1e308 takes 309."""
    text = _as_stored(value)
    growth = sum(_growth(number) for number in _floats(value)) if _EXPONENT.search(text) else 0
    return len(text.encode()) + growth


def object_of(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """Make an object, for `json.loads`; one in which a key stands twice is made so that `check` refuses it."""
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    marked = _Duplicate(made)
    marked.twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return marked


def pointer(*path: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of `path`, or of its nearest parent whose pointer is not too long."""
    text = ""
    for step in path:
        further = f"{text}/{str(step).replace('~', '~0').replace('/', '~1')}"
        if len(further) > MAX_POINTER:
            break
        text = further
    return text


def _integer(text: str) -> int | float:
    if len(text) <= _MAX_DIGITS and int(text) in _INT_RANGE:
        return int(text)
    return _number(text)


def _number(text: str) -> int | float:
    value = float(text)
    if math.isinf(value):
        raise _RefusedNumber(f"the number {_cut(text)} is too large")
    try:
        exact = Decimal(text)
    except ArithmeticError:  # an exponent of twenty digits
        raise _RefusedNumber(f"the number {_cut(text)} is too small") from None
    if Decimal(repr(value)) != exact:
        raise _RefusedNumber(f"the number {_cut(text)} is not held exactly by a double: send it as a string")
    # A zero may have an exponent that no integer should be made of.
    if value.is_integer() and exact.adjusted() < _MAX_DIGITS and int(exact) in _INT_RANGE:
        return int(exact)
    return value


def _constant(text: str) -> NoReturn:
    raise json.JSONDecodeError(f"{text} is not a JSON value", text, 0)


def _cut(text: str, length: int = 40) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _sound(root: JsonValue) -> bool:
    """Tell whether `_faults` would find nothing, level by level and several times as fast."""
    level: list[JsonValue] = [root]
    for depth in range(MAX_DEPTH + 1):
        texts = [value for value in level if isinstance(value, str)]
        objects = [value for value in level if isinstance(value, dict)]
        lists = [value for value in level if isinstance(value, list)]
        if depth == MAX_DEPTH and (objects or lists):
            return False
        if any(isinstance(each, _Duplicate) for each in objects) or _text_fault("".join(chain(texts, *objects))):
            return False
        level = [*chain.from_iterable(each.values() for each in objects), *chain.from_iterable(lists)]
        if not level:
            break
    return True


def _faults(root: JsonValue) -> Iterator[FieldError]:
    """Walk without recursion, so that no nesting can exhaust the stack."""
    stack: list[tuple[JsonValue, tuple[str | int, ...]]] = [(root, ())]
    while stack:
        value, path = stack.pop()
        if isinstance(value, str):
            if fault := _text_fault(value):
                yield FieldError(pointer(*path), fault)
        elif isinstance(value, dict | list):
            if len(path) >= MAX_DEPTH:
                yield FieldError(pointer(*path), f"nested deeper than {MAX_DEPTH} levels")
                return
            if isinstance(value, dict):
                if isinstance(value, _Duplicate):
                    yield FieldError(pointer(*path), f"the key {_cut(value.twice)!r} stands twice")
                for key in value:
                    if fault := _text_fault(key):
                        yield FieldError(pointer(*path), f"a key: {fault}")
                stack.extend((item, (*path, key)) for key, item in value.items())
            else:
                stack.extend((item, (*path, at)) for at, item in enumerate(value))


def _growth(number: float) -> int:
    """Return by how many bytes jsonb's way of writing `number` is longer than Python's."""
    return len(f"{Decimal(repr(number)):f}") - len(repr(number))


def _floats(root: JsonValue) -> Iterator[float]:
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, float):
            yield value
        elif isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            stack.extend(value)


def _text_fault(text: str) -> str | None:
    if "\0" in text:
        return "U+0000 cannot be stored: send such data as base64"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a lone surrogate is no character"
    return None
