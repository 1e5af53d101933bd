"""The limits that a cloud's API gateway sets before a request reaches a function.

Such a gateway hands over a request once it has arrived whole, with a bounded size, and for the gateway's own host.
"""

import threading
from collections.abc import Iterable
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sweephand.domain.errors import (
    BodyCutError,
    BodyTooLargeError,
    CrossOriginError,
    MisdirectedError,
    RequestError,
    TooSlowError,
)
from sweephand.http.problem import problem

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

MAX_READ = 10 * 1024 * 1024
"""Bytes of a body that are read; API Gateway has this limit."""
IN_MEMORY = 512 * 1024
"""Bytes of a body above which it is kept in a file."""
PIECE = 64 * 1024
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class RequestLimits:
    """A WSGI application that sets the limits in front of another."""

    def __init__(self, application: "WSGIApplication", at_once: int, *, scheduled: bool = False) -> None:
        """Pass on at most `at_once` requests at a time. A `scheduled` function gets no request from a web page."""
        self._application = application
        self._slots = threading.BoundedSemaphore(at_once)
        self._scheduled = scheduled

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Pass the whole request on, or answer with the limit that it breaks."""
        with SpooledTemporaryFile(max_size=IN_MEMORY) as body:
            try:
                _check_host(environ)
                if self._scheduled and ("HTTP_ORIGIN" in environ or "HTTP_SEC_FETCH_SITE" in environ):
                    raise CrossOriginError
                _receive(environ, body)
            except RequestError as error:
                refusal = problem(error)
                # The rest of the request is not read, so the connection cannot carry another.
                refusal.headers["Connection"] = "close"
                return refusal(environ, start_response)
            with self._slots:
                answer = self._application(environ, start_response)
                try:
                    return list(answer)
                finally:
                    getattr(answer, "close", lambda: None)()


def _check_host(environ: "WSGIEnvironment") -> None:
    """Raise MisdirectedError for a host that is not loopback: a page can point its own name to our address."""
    try:
        name = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname
    except ValueError:
        name = None
    if name not in LOOPBACK:
        raise MisdirectedError


def _receive(environ: "WSGIEnvironment", body: "SpooledTemporaryFile[bytes]") -> None:
    """Read the whole body into `body`, and put that into `environ`."""
    if environ.get("HTTP_TRANSFER_ENCODING", "chunked").strip().lower() != "chunked":
        raise BodyCutError
    announced = int(environ.get("CONTENT_LENGTH") or 0)
    if announced > MAX_READ:
        raise BodyTooLargeError(MAX_READ)
    source: InputStream = environ["wsgi.input"]
    size = 0
    try:
        while piece := source.read(PIECE):
            size += len(piece)
            if size > MAX_READ:
                raise BodyTooLargeError(MAX_READ)  # noqa: TRY301 - passed on below
            body.write(piece)
    except RequestError:
        raise
    except Exception as e:  # gunicorn raises its own errors for a body that breaks HTTP
        raise _cut(environ) from e
    if size < announced:
        raise _cut(environ)
    body.seek(0)
    environ["wsgi.input"] = body
    environ["CONTENT_LENGTH"] = str(size)
    environ.pop("HTTP_TRANSFER_ENCODING", None)


def _cut(environ: "WSGIEnvironment") -> RequestError:
    return TooSlowError() if getattr(environ.get("gunicorn.socket"), "late", False) else BodyCutError()
