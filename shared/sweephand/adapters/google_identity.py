"""Tokens of a Google function's own identity, from the metadata server.

Source: cloud.google.com/run/docs/authenticating.
"""

import httpx

METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default"


def identity_token(audience: str) -> str:
    """Return an OIDC token for `audience`, a URL; raises `httpx.HTTPError` outside Google Cloud."""
    return _metadata("identity", audience=audience).text.strip()


def access_token() -> str:
    """Return a token for Google's APIs; raises `httpx.HTTPError` outside Google Cloud."""
    return str(_metadata("token").json()["access_token"])


def _metadata(path: str, **params: str) -> httpx.Response:
    answer = httpx.get(f"{METADATA}/{path}", params=params, headers={"Metadata-Flavor": "Google"}, timeout=2)
    answer.raise_for_status()
    return answer
