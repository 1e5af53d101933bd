"""gunicorn's worker, with a time limit for a request to arrive.

Without the limit, each client that sends half a request would keep a thread for ever.
"""

import socket
import time
from typing import Any

from gunicorn import util  # type: ignore[import-untyped] # it ships no types
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped] # likewise

ARRIVAL = 10.0
"""Seconds from a request's first byte to its last."""


class TimedConnection:
    """A connection that reads as closed once a request has taken longer than ARRIVAL to arrive."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = 0.0
        self.late = False

    def begin(self) -> None:
        """Start the time limit of the next request."""
        self._deadline = time.monotonic() + ARRIVAL
        self.late = False

    def recv(self, size: int) -> bytes:
        """Return the bytes that came, none when the client has closed or the time is over."""
        left = self._deadline - time.monotonic()
        try:
            self._connection.settimeout(max(left, 0.001))
            return self._connection.recv(size)
        except TimeoutError:
            self.late = True
            return b""
        finally:
            self._connection.settimeout(None)

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - as a socket's own
        """Set the mode of an open connection.

        gunicorn sets it on a connection that `DeadlineWorker.handle` has closed. Were that an error, gunicorn would
        take the connection off its count twice, and a stopped server would end before its last requests.
        """
        if self._connection.fileno() >= 0:
            self._connection.setblocking(flag)

    def __getattr__(self, name: str) -> Any:
        """Return the connection's own attribute."""
        return getattr(self._connection, name)


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, with the time limit on each request."""

    def handle(self, conn: TConn) -> object:
        """Answer one request. Closing a connection takes time: it happens here, not in gunicorn's main thread."""
        if not isinstance(conn.sock, TimedConnection):
            conn.sock = TimedConnection(conn.sock)
        conn.sock.begin()
        kept = super().handle(conn)
        if kept is False:
            util.close_graceful(conn.sock)
        return kept
