"""CORS: pages of other sites may call the API from a browser only where CORS_ORIGINS names them."""

import functools
import os

from werkzeug import Request, Response

EXPOSED = "Location, Idempotency-Replayed, Retry-After, WWW-Authenticate"
"""Headers that a page may read from an answer."""
ACCEPTED = "Authorization, Content-Type, Idempotency-Key"
"""Headers that a page may send with a request."""
MAX_AGE = 600
"""Seconds for which a browser keeps the answer to a preflight."""


@functools.cache
def origins() -> tuple[str, ...]:
    """Return the origins of CORS_ORIGINS, read here: wrong other settings must not stop a preflight's answer."""
    return tuple(word.strip() for word in os.environ.get("CORS_ORIGINS", "").split(",") if word.strip())


def allow(request: Request, response: Response, methods: tuple[str, ...] = ()) -> Response:
    """Return `response` with headers that let a named origin read it, and use `methods` after a preflight."""
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
