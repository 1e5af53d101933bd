"""Supabase's API keys: the new-style keys, and the token that each stands for."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

TOKEN_LIFE = 10 * 365 * 24 * 3600
"""Seconds for which a legacy key of Supabase is valid: ten years."""

Headers = list[tuple[bytes, bytes]]
"""Header names, in lower case, and values."""


class Unauthorized(Exception):  # noqa: N818 - the gateway's answer to a caller
    """A request whose key is missing or unknown. The gateway answers 401 with this message and hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def jwt(secret: str, role: str) -> str:
    """Return an HS256 token for `role`, valid for ten years as Supabase's legacy keys are."""
    now = int(time.time())
    claims = {"iss": "supabase", "role": role, "iat": now, "exp": now + TOKEN_LIFE}
    head = _part({"alg": "HS256", "typ": "JWT"}) + b"." + _part(claims)
    signature = hmac.digest(secret.encode(), head, hashlib.sha256)
    return (head + b"." + _base64(signature)).decode()


def service_role_jwt(secret: str) -> str:
    """Return the legacy `service_role` key of the project that has this JWT secret."""
    return jwt(secret, "service_role")


@dataclass(frozen=True, slots=True)
class Keys:
    """The new-style keys, each with the token that PostgREST gets instead."""

    tokens: dict[bytes, bytes]

    @classmethod
    def of(cls, *, secret_key: str, publishable_key: str, jwt_secret: str) -> "Keys":
        """Return the project's two keys, with tokens signed by `jwt_secret`."""
        pairs = ((secret_key, "service_role"), (publishable_key, "anon"))
        return cls({key.encode(): jwt(jwt_secret, role).encode() for key, role in pairs})

    def authorize(self, headers: Headers) -> Headers:
        """Return the headers that PostgREST gets.

        A user's own token stays. Otherwise the `apikey` decides: its token takes the place of a new-style key; a
        legacy key is a token. Raises Unauthorized without a key, or for an unknown `sb_…` key.
        """
        given = dict(headers)
        key, authorization = given.get(b"apikey"), given.get(b"authorization", b"")
        if key is None:
            raise Unauthorized("No API key found in request", "No `apikey` request header was found.")
        token = self.tokens.get(key)
        if token is None and key.startswith(b"sb_"):
            raise Unauthorized("Invalid API key", "Double check your Supabase API key.")
        if authorization and not authorization.startswith(b"Bearer sb_"):
            return headers
        kept = [(name, value) for name, value in headers if name != b"authorization"]
        return [*kept, (b"authorization", b"Bearer " + (token or key))]


def _part(value: object) -> bytes:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
