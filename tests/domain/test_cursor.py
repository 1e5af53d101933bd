"""A cursor is a place in one list, of one caller."""

import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.cursor import Position, decode, encode
from shared.domain.errors import InvalidError

POSITIONS = st.builds(Position, st.integers(-(2**63), 2**63 - 1), st.uuids())
SECRETS = st.binary(min_size=32, max_size=32)
FILTERS = st.text(string.ascii_lowercase + "|_", max_size=20)
CHARACTERS = string.printable + "é"
PLACE = Position(1_800_000_000_000_000, UUID(int=1))


@given(POSITIONS, SECRETS, FILTERS)
def test_cursor_leads_back_to_its_place(place: Position, secret: bytes, filters: str) -> None:
    """What was encoded is decoded, by the same caller, in the same list."""
    assert decode(encode(place, secret=secret, filters=filters), secret=secret, filters=filters) == place


@given(POSITIONS, SECRETS)
def test_cursor_needs_no_escaping_in_a_query(place: Position, secret: bytes) -> None:
    """A cursor is made of letters, digits, - and _."""
    assert set(encode(place, secret=secret, filters="|")) <= set(string.ascii_letters + string.digits + "-_")


@given(POSITIONS, st.data())
def test_any_other_character_is_refused(place: Position, data: st.DataObject) -> None:
    """Each character counts: another one in any place, even one that spells the same bytes, is refused."""
    cursor = encode(place, secret=b"s", filters="|")
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from(CHARACTERS).filter(lambda c: c != cursor[at]))
    with pytest.raises(InvalidError):
        decode(cursor[:at] + other + cursor[at + 1 :], secret=b"s", filters="|")


def test_every_change_of_the_last_character_is_refused() -> None:
    """The last character holds bits that base64 ignores; they count all the same."""
    cursor = encode(PLACE, secret=b"s", filters="|")
    for other in set(CHARACTERS) - {cursor[-1]}:
        with pytest.raises(InvalidError):
            decode(cursor[:-1] + other, secret=b"s", filters="|")


@given(POSITIONS, SECRETS, SECRETS)
def test_another_callers_cursor_is_refused(place: Position, secret: bytes, other: bytes) -> None:
    """A cursor is good for the caller that it was given to."""
    if secret != other:
        with pytest.raises(InvalidError):
            decode(encode(place, secret=secret, filters="|"), secret=other, filters="|")


@given(POSITIONS, FILTERS, FILTERS)
def test_cursor_of_another_list_is_refused(place: Position, filters: str, other: str) -> None:
    """A cursor is good for the filters that it was made with."""
    if filters != other:
        with pytest.raises(InvalidError):
            decode(encode(place, secret=b"s", filters=filters), secret=b"s", filters=other)


@given(st.text() | st.text(string.ascii_letters + string.digits + "-_=", max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    """Nothing but our own is read, and the refusal names the parameter."""
    with pytest.raises(InvalidError) as refused:
        decode(text, secret=b"s", filters="|")
    assert [fault.pointer for fault in refused.value.faults] == ["cursor"]


@pytest.mark.parametrize("change", ["{}=", "{}A", "={}", " {}", "{}\n"])
def test_cursor_with_something_added_is_refused(change: str) -> None:
    """Padding, spaces and further characters make it another text."""
    with pytest.raises(InvalidError):
        decode(change.format(encode(PLACE, secret=b"s", filters="|")), secret=b"s", filters="|")
