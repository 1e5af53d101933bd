"""A place in a list of jobs, as a text that only we can make."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

from shared.domain.errors import Fault, InvalidError

_MAC = 16
"""Bytes of the HMAC: forging one by chance takes 2^128 tries."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last job that was seen: when it was created, in microseconds since 1970, and its id."""

    created_at: int
    id: UUID


def encode(position: Position, *, secret: bytes, filters: str) -> str:
    """Return the cursor that goes on after `position`, good only with the same `filters` and `secret`."""
    body = position.created_at.to_bytes(8, "big", signed=True) + position.id.bytes
    return base64.urlsafe_b64encode(body + _mac(body, secret, filters)).rstrip(b"=").decode()


def decode(cursor: str, *, secret: bytes, filters: str) -> Position:
    """Return the position in `cursor`; raises `InvalidError` for one that `encode` did not make of the same."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError as e:
        raise _refused() from e
    body = raw[:24]
    if len(body) < 24:  # noqa: PLR2004 - eight bytes of time and sixteen of id
        raise _refused()
    position = Position(int.from_bytes(body[:8], "big", signed=True), UUID(bytes=body[8:]))
    # The whole text is compared, not its bytes: base64 can spell the same bytes in several ways.
    if not hmac.compare_digest(cursor, encode(position, secret=secret, filters=filters)):
        raise _refused()
    return position


def _mac(body: bytes, secret: bytes, filters: str) -> bytes:
    return hmac.new(secret, body + filters.encode(), hashlib.sha256).digest()[:_MAC]


def _refused() -> InvalidError:
    return InvalidError([Fault("cursor", "not a cursor of this list: use `next_cursor` as it was given")])
