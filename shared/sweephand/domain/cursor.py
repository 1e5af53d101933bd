"""A place in a list of jobs, as a text.

It is unsigned: whoever may read a list may begin it anywhere, so a signature would protect nothing. What a cursor
says is checked value by value instead, and cannot be more than a time that exists and an id.
"""

import base64
import hashlib
from dataclasses import dataclass
from uuid import UUID

from sweephand.domain.errors import FieldError, InvalidError

EARLIEST = -62_135_596_800_000_000
"""The year 1, in microseconds since 1970."""
LATEST = 253_402_300_799_999_999
"""The end of the year 9999."""
_LENGTH = 32
"""Bytes: eight of time, sixteen of id, eight of the filters' digest."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last job that was seen: when it was created, in microseconds since 1970, and its id."""

    created_at: int
    """EARLIEST to LATEST."""
    id: UUID


def encode(position: Position, *, filters: str) -> str:
    """Return the cursor that goes on after `position`, good only with the same `filters`."""
    body = position.created_at.to_bytes(8, "big", signed=True) + position.id.bytes
    return base64.urlsafe_b64encode(body + hashlib.sha256(filters.encode()).digest()[:8]).rstrip(b"=").decode()


def decode(cursor: str, *, filters: str) -> Position:
    """Return the position in `cursor`; raises `InvalidError` where `encode` makes it of none."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError as e:
        raise _refused() from e
    if len(raw) != _LENGTH:
        raise _refused()
    position = Position(int.from_bytes(raw[:8], "big", signed=True), UUID(bytes=raw[8:24]))
    # The whole text is compared, not its bytes: base64 can spell the same bytes in several ways.
    if not EARLIEST <= position.created_at <= LATEST or cursor != encode(position, filters=filters):
        raise _refused()
    return position


def _refused() -> InvalidError:
    return InvalidError([FieldError("cursor", "not a cursor of this list: use `next_cursor` as it was given")])
