"""Which other sites' pages may call the API from a browser: none, unless CORS_ORIGINS names them."""

import functools
import os

from werkzeug import Request, Response

EXPOSED = "Location, Idempotency-Replayed, Retry-After, WWW-Authenticate"
"""Headers of an answer that a page may read."""
ACCEPTED = "Authorization, Content-Type, Idempotency-Key"
"""Headers of a request that a page may send."""
MAX_AGE = 600
"""Seconds that a browser need not ask again."""


@functools.cache
def origins() -> tuple[str, ...]:
    """Return what CORS_ORIGINS names: read here, as a preflight is answered whatever the other settings are."""
    return tuple(word.strip() for word in os.environ.get("CORS_ORIGINS", "").split(",") if word.strip())


def allow(request: Request, response: Response, methods: tuple[str, ...] = ()) -> Response:
    """Let a page of a named origin read `response`, and after a preflight use `methods`; return it."""
    named = origins()
    if not named:
        return response
    response.vary.add("Origin")
    origin = request.headers.get("Origin", "")
    if not origin or (origin not in named and "*" not in named):
        return response
    response.headers["Access-Control-Allow-Origin"] = "*" if "*" in named else origin
    response.headers["Access-Control-Expose-Headers"] = EXPOSED
    if methods and "Access-Control-Request-Method" in request.headers:
        response.headers["Access-Control-Allow-Methods"] = ", ".join(methods)
        response.headers["Access-Control-Allow-Headers"] = ACCEPTED
        response.headers["Access-Control-Max-Age"] = str(MAX_AGE)
    return response
