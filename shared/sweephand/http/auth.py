"""Who may call: a Bearer key whose hash is configured."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from sweephand.domain.errors import UnauthorizedError


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a key, known by its hash."""

    key_hash: bytes

    @property
    def name(self) -> str:
        """What the record knows the caller by: a digest of the hash, so that the hash itself stays here."""
        return hashlib.sha256(b"owner:" + self.key_hash).hexdigest()[:32]


def authenticate(authorization: str | None, key_hashes: Sequence[bytes]) -> Caller:
    """Return the caller that an Authorization header names.

    Every configured hash is compared, each in constant time. Raises `UnauthorizedError`, also when no key is
    configured.
    """
    scheme, _, key = (authorization or "").partition(" ")
    given = hashlib.sha256(key.strip().encode("utf-8", "surrogatepass")).digest()
    known = False
    for key_hash in key_hashes:
        known |= hmac.compare_digest(given, key_hash)
    if not known or scheme.lower() != "bearer" or not key.strip():
        raise UnauthorizedError
    return Caller(given)
