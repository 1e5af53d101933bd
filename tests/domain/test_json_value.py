"""JSON is kept by value, or refused with the reason."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.services.services import Services
from sweephand.adapters import rest as rest_rpc
from sweephand.domain.errors import FieldError, InvalidError, NotJsonError
from sweephand.domain.job import NewJob
from sweephand.domain.json_value import (
    MAX_DEPTH,
    MAX_FAULTS,
    MAX_POINTER,
    JsonValue,
    check,
    parse,
    pointer,
    stored_size,
)
from sweephand.ports.record import Record
from tests.domain.json_values import TEXT, VALUES, plain


def faults(text: str | bytes) -> list[FieldError]:
    """Return why `text` is refused as a value."""
    with pytest.raises(InvalidError) as refused:
        parse(text.encode() if isinstance(text, str) else text)
    return refused.value.faults


@given(VALUES)
def test_accepted_value_is_the_value_that_was_sent(value: Any) -> None:
    """Text, 64-bit integers and doubles come out of the parser as they went in, however deep they stand."""
    assert plain(parse(json.dumps(value).encode())) == plain(value)


@given(VALUES)
def test_value_that_is_rendered_can_be_sent_again(value: Any) -> None:
    """What the API answers, it also accepts: jsonb's long form of a large number included."""
    once = parse(json.dumps(value).encode())
    written_out = json.dumps(once) if not isinstance(once, float) else f"{Decimal(repr(once)):f}"
    assert plain(parse(written_out.encode())) == plain(once)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_number_is_kept_or_refused(number: Decimal) -> None:
    """No decimal number is ever rounded."""
    try:
        value = parse(str(number).encode())
    except InvalidError:
        return
    assert Decimal(repr(value)) == number


@pytest.mark.parametrize(
    ("spelled", "value"),
    [
        ("1.0", 1),
        ("1e2", 100),
        ("-0", 0),
        ("-0.0", 0),
        ("0e999999999", 0.0),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("100000000000000000000", 1e20),
        ("1" + "0" * 308, 1e308),
        ("0." + "0" * 100_000, 0),
        ("5e-324", 5e-324),
        ("0.1", 0.1),
    ],
)
def test_spelling_of_a_number_does_not_count(spelled: str, value: float) -> None:
    """A number is its value: 1.0 is the integer 1, and 10^308 is a double however it is written."""
    assert plain(parse(spelled.encode())) == plain(value)
    assert isinstance(parse(spelled.encode()), type(value))


@pytest.mark.parametrize(
    "text",
    [
        "1e400",
        "-1e400",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "0e99999999999999999999",
        "1e-400",
        "18446744073709551617",
        "-9223372036854775809",
        "9" * 400,
        "9" * 200_000,
        "0.1000000000000000055",
        "9007199254740993.0",
        "1." + "1" * 200_000,
    ],
)
def test_number_that_no_double_holds_is_refused(text: str) -> None:
    """What would be rounded on its way is refused with its first digits, and never for long."""
    (fault,) = faults(f'{{"payload": [{text}]}}')
    assert fault.detail.startswith(f"the number {text[:40]}")
    assert len(fault.detail) < 120


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '{"a": NaN}', "[1, Infinity]"])
def test_numbers_that_json_has_not_are_no_json(text: str) -> None:
    """NaN and the infinities are Python's, not JSON's."""
    with pytest.raises(NotJsonError, match="not a JSON value"):
        parse(text.encode())


@pytest.mark.parametrize(
    "text", [b"", b"{", b"{'a': 1}", b"[1,]", b'"\t"', b"nul", b"\xff", b'"\xed\xa0\x80"', b"\xef\xbb\xbf1", b"1 2"]
)
def test_what_is_no_json_is_refused_as_such(text: bytes) -> None:
    """Broken syntax, other encodings and a byte order mark are no JSON text."""
    with pytest.raises(NotJsonError):
        parse(text)


def test_broken_json_is_told_with_its_place() -> None:
    """The reason names line and column."""
    with pytest.raises(NotJsonError, match="line 2, column 8"):
        parse(b'{"a": 1,\n "b": 2x}')


@pytest.mark.parametrize("shape", [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 1_000, 10_000, 100_000])
def test_deep_nesting_is_refused(levels: int, shape: tuple[str, str]) -> None:
    """More than 64 levels are refused, whatever the number: no stack is exhausted."""
    (fault,) = faults(shape[0] * levels + "1" + shape[1] * levels)
    assert fault.detail == f"nested deeper than {MAX_DEPTH} levels"


def test_sixty_four_levels_are_accepted() -> None:
    """The limit itself is within it."""
    parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


@pytest.mark.parametrize(
    ("text", "place", "detail"),
    [
        ('{"a": 1, "a": 1}', "", "the key 'a' stands twice"),
        ('{"a": [{"b": 1, "\\u0062": 2}]}', "/a/0", "the key 'b' stands twice"),
        ('{"a/b": {"~": "\\u0000"}}', "/a~1b/~0", "U+0000 cannot be stored: send such data as base64"),
        ('["x", "\\ud800"]', "/1", "a lone surrogate is no character"),
        ('["\\udc00\\ud800"]', "/0", "a lone surrogate is no character"),
        ('{"a": {"\\u0000": 1}}', "/a", "a key: U+0000 cannot be stored: send such data as base64"),
        ('{"\\udfff": 1}', "", "a key: a lone surrogate is no character"),
    ],
)
def test_value_that_would_be_altered_is_refused_where_it_stands(text: str, place: str, detail: str) -> None:
    """Duplicate keys, U+0000 and lone surrogates, in keys and values, are named with their JSON pointer."""
    assert faults(text) == [FieldError(place, detail)]


def test_surrogate_pair_is_a_character() -> None:
    """A pair of escapes is how JSON writes what lies beyond U+FFFF."""
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_number_of_faults_is_bounded() -> None:
    """However much is wrong with a value, the first hundred faults are told."""
    assert len(faults(json.dumps(["\0"] * 5_000))) == MAX_FAULTS


def test_pointer_is_bounded() -> None:
    """A key of any length makes no answer of that length: the pointer then names the nearest parent that it can."""
    assert [fault.pointer for fault in faults(json.dumps({"a": {"k" * 100_000: ["\0"]}}))] == ["/a"]


@given(st.lists(TEXT | st.integers(0, 1000), max_size=4))
def test_pointer_can_be_taken_apart(path: list[str | int]) -> None:
    """A pointer is RFC 6901's: its steps come back by undoing ~1, then ~0."""
    text = pointer(*path)
    assert len(text) <= MAX_POINTER
    assert [s.replace("~1", "/").replace("~0", "~") for s in text.split("/")[1:]] == [str(step) for step in path]


@given(VALUES)
def test_whatever_is_accepted_stays_accepted(value: Any) -> None:
    """A value from elsewhere, such as a handler's result, is judged as one that was sent."""
    check(value)


@pytest.fixture(scope="module")
def record(stack: Services) -> Iterator[Record]:
    """Yield the record, through the client that the functions use."""
    rpc = rest_rpc.connect(stack.supabase_gateway.url, stack.secrets.secret_key)
    yield Record(rpc)
    rpc.close()


@pytest.fixture(scope="module")
def rows(stack: Services) -> Iterator[psycopg.Connection]:
    """Yield a connection to the record as its owner."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        yield connection


def kept(record: Record, payload: dict[str, JsonValue]) -> tuple[UUID, Any]:
    """Return the id and the payload, as it comes back, of a job with `payload`."""
    job = uuid4()
    record.create([NewJob(job, "kept", payload)])
    found = record.get(job)
    assert found
    return job, found["payload"]


@given(value=VALUES)
def test_accepted_value_comes_back_from_postgresql(record: Record, value: Any) -> None:
    """Through PostgREST into jsonb and back, every accepted value is the same JSON value."""
    sent = parse(json.dumps(value).encode())
    assert plain(kept(record, {"value": sent})[1]) == {"value": plain(value)}


@given(value=VALUES)
def test_stored_size_is_postgresqls(record: Record, rows: psycopg.Connection, value: Any) -> None:
    """The size that a payload is judged by is, to the byte, the one that the table's limit sees."""
    sent = {"value": parse(json.dumps(value).encode())}
    job, _ = kept(record, sent)
    found = rows.execute("select bytes from sweephand.jobs where id = %s", (job,)).fetchone()
    assert found == (stored_size(sent),)


@pytest.mark.parametrize(
    "payload",
    [
        '{"x": "' + "x" * 1000 + '", "n": ' + "9" * 5000 + "}",
        '{"n": 1e400, "x": "' + "x" * 1000 + '"}',
        '{"n": ' + "[" * 1000 + "]" * 1000 + "}",
    ],
)
def test_sql_cannot_insert_what_a_tick_could_not_read(rows: psycopg.Connection, payload: str) -> None:
    """SQL knows numbers and nesting that stop a JSON parser, and one such payload would stop its whole batch."""
    with pytest.raises(psycopg.errors.CheckViolation, match="64 levels"):
        rows.execute("select sweephand.enqueue('kept', %s)", (payload,))


@pytest.mark.parametrize(
    "payload",
    [
        '{"x": "' + "x" * 1000 + '", "n": [1e308, -1.7976931348623157e308]}',
        '{"x": "' + "9" * 6000 + '"}',
        '{"x": "' + "x" * 1000 + '", "n": ' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}",
    ],
)
def test_sql_can_insert_what_the_api_takes(rows: psycopg.Connection, payload: str) -> None:
    """Every double, 64 levels and text of any digits are no less for SQL than for the API."""
    parse(payload.encode())
    rows.execute("select sweephand.enqueue('kept', %s)", (payload,))
