"""Authentication: a Bearer key whose hash is configured."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from sweephand.domain.errors import UnauthorizedError


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of an API key."""

    key_hash: bytes

    @property
    def name(self) -> str:
        """The caller's name in the record: a digest of the hash, so that the record never gets the hash itself."""
        return hashlib.sha256(b"owner:" + self.key_hash).hexdigest()[:32]


def authenticate(authorization: str | None, key_hashes: Sequence[bytes]) -> Caller:
    """Return the caller that sent this Authorization header.

    It compares with every configured hash, each in constant time. Raises `UnauthorizedError` for an unknown key,
    and for every key when none is configured.
    """
    scheme, _, key = (authorization or "").partition(" ")
    given = hashlib.sha256(key.strip().encode("utf-8", "surrogatepass")).digest()
    known = False
    for key_hash in key_hashes:
        known |= hmac.compare_digest(given, key_hash)
    if not known or scheme.lower() != "bearer" or not key.strip():
        raise UnauthorizedError
    return Caller(given)
