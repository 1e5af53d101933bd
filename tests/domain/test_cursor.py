"""A cursor is a place in one list."""

import contextlib
import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweephand.domain.cursor import EARLIEST, LATEST, Position, decode, encode
from sweephand.domain.errors import InvalidError

POSITIONS = st.builds(Position, st.integers(EARLIEST, LATEST), st.uuids())
FILTERS = st.text(string.ascii_lowercase + "|_", max_size=20)
CHARACTERS = string.printable + "é"
PLACE = Position(1_800_000_000_000_000, UUID(int=1))


@given(POSITIONS, FILTERS)
def test_cursor_leads_back_to_its_place(place: Position, filters: str) -> None:
    """What was encoded is decoded, in the same list."""
    assert decode(encode(place, filters=filters), filters=filters) == place


@given(POSITIONS)
def test_cursor_needs_no_escaping_in_a_query(place: Position) -> None:
    """A cursor is made of letters, digits, - and _."""
    assert set(encode(place, filters="|")) <= set(string.ascii_letters + string.digits + "-_")


@given(POSITIONS, st.data())
def test_any_other_character_is_another_place_or_refused(place: Position, data: st.DataObject) -> None:
    """Two texts are never the same place, not even two spellings of the same bytes."""
    cursor = encode(place, filters="|")
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from(CHARACTERS).filter(lambda c: c != cursor[at]))
    with contextlib.suppress(InvalidError):
        assert decode(cursor[:at] + other + cursor[at + 1 :], filters="|") != place


def test_every_change_of_the_last_character_is_refused() -> None:
    """The last character holds bits that base64 ignores; they count all the same."""
    cursor = encode(PLACE, filters="|")
    for other in set(CHARACTERS) - {cursor[-1]}:
        with pytest.raises(InvalidError):
            decode(cursor[:-1] + other, filters="|")


@pytest.mark.parametrize("at", [-(2**63), 2**63 - 1, EARLIEST - 1, LATEST + 1])
def test_time_that_does_not_exist_is_refused(at: int) -> None:
    """What no calendar date can be never reaches the record."""
    with pytest.raises(InvalidError):
        decode(encode(Position(at, UUID(int=1)), filters="|"), filters="|")


@given(POSITIONS, FILTERS, FILTERS)
def test_cursor_of_another_list_is_refused(place: Position, filters: str, other: str) -> None:
    """A cursor is good for the filters that it was made with."""
    if filters != other:
        with pytest.raises(InvalidError):
            decode(encode(place, filters=filters), filters=other)


@given(st.text() | st.text(string.ascii_letters + string.digits + "-_=", max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    """Nothing but our own is read, and the refusal names the parameter."""
    with pytest.raises(InvalidError) as refused:
        decode(text, filters="|")
    assert [fault.pointer for fault in refused.value.faults] == ["cursor"]


@pytest.mark.parametrize("change", ["{}=", "{}A", "={}", " {}", "{}\n"])
def test_cursor_with_something_added_is_refused(change: str) -> None:
    """Padding, spaces and further characters make it another text."""
    with pytest.raises(InvalidError):
        decode(change.format(encode(PLACE, filters="|")), filters="|")
