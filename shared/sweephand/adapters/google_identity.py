"""Tokens of a Google function's own identity (cloud.google.com/run/docs/authenticating)."""

import httpx

METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default"


def identity_token(audience: str) -> str:
    """Return an OIDC token for `audience`; raises `httpx.HTTPError` where there is no such server."""
    return _metadata("identity", audience=audience).text.strip()


def access_token() -> str:
    """Return a token for Google's own APIs; raises `httpx.HTTPError` where there is no such server."""
    return str(_metadata("token").json()["access_token"])


def _metadata(what: str, **params: str) -> httpx.Response:
    answer = httpx.get(f"{METADATA}/{what}", params=params, headers={"Metadata-Flavor": "Google"}, timeout=2)
    answer.raise_for_status()
    return answer
