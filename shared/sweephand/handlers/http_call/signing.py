"""Signatures by the Standard Webhooks convention, over the exact bytes that are sent.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweephand.handlers.http_call.target import read_host

PREFIX = "whsec_"
MIN_KEY, MAX_KEY = 24, 64
"""Bytes of a key: what the convention allows."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys of each host, and those for every other host; each newest first."""

    general: tuple[bytes, ...] = field(default=(), repr=False)
    of_host: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, words: Iterable[str]) -> "SigningKeys":
        """Read `whsec_…`, a key for every host, and `host=whsec_…`, a key for one.

        Raises `ValueError` for what is neither; its text holds no key, only where it stands.
        """
        general: list[bytes] = []
        of_host: dict[str, list[bytes]] = {}
        for at, word in enumerate(words, 1):
            host, separator, key = word.partition(f"={PREFIX}")
            if separator:
                of_host.setdefault(_host(host, at), []).append(_key(key, at))
            elif word.startswith(PREFIX):
                general.append(_key(word.removeprefix(PREFIX), at))
            else:
                raise ValueError(f"entry {at} is neither {PREFIX}… nor host={PREFIX}…")
        return cls(tuple(general), {host: tuple(keys) for host, keys in of_host.items()})

    def for_host(self, host: str) -> Sequence[bytes]:
        """Return the keys that sign a call to `host`: its own where it has some, else the general ones."""
        return self.of_host.get(host.lower(), self.general)


def headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return what identifies and signs a message; without keys the signature is missing.

    `timestamp`: seconds since 1970. Every key signs, so that a receiver may verify by the old or the new one.
    """
    made = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if keys:
        signed = f"{message_id}.{timestamp}.".encode() + body
        made["webhook-signature"] = " ".join(_signature(key, signed) for key in keys)
    return made


def _signature(key: bytes, signed: bytes) -> str:
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def _key(text: str, at: int) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"entry {at} has no base64 behind {PREFIX}") from None
    if not MIN_KEY <= len(key) <= MAX_KEY:
        raise ValueError(f"entry {at} has a key of {len(key)} bytes: it needs {MIN_KEY} to {MAX_KEY}")
    return key


def _host(text: str, at: int) -> str:
    try:
        return read_host(text)[0]
    except ValueError as e:
        raise ValueError(f"entry {at} names a host that is none: {e}") from None
