"""gunicorn's worker, with a time by which a request must have arrived.

Without one, each client that sends half a request keeps a thread for ever.
"""

import socket
import time
from typing import Any

from gunicorn import util  # type: ignore[import-untyped] # it ships no types
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped] # likewise

ARRIVAL = 10.0
"""Seconds from a request's first byte to its last."""


class Timed:
    """A connection that is at its end, as far as its reader can tell, once a request has taken too long."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = 0.0
        self.late = False

    def begin(self) -> None:
        """Give the next request its time."""
        self._deadline = time.monotonic() + ARRIVAL
        self.late = False

    def recv(self, size: int) -> bytes:
        """Return what came, nothing when the client or its time is at an end."""
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

        gunicorn sets it on a connection that `Worker.handle` has closed. Were that an error, gunicorn would take
        the connection off its count twice, and a stopped server would end before its last requests.
        """
        if self._connection.fileno() >= 0:
            self._connection.setblocking(flag)

    def __getattr__(self, name: str) -> Any:
        """Be the connection in everything else."""
        return getattr(self._connection, name)


class Worker(ThreadWorker):  # type: ignore[misc]
    """Answers as gunicorn's threads do, each connection's requests against the clock."""

    def handle(self, conn: TConn) -> object:
        """Answer one request; a connection that is to be closed is closed here, where waiting keeps nobody."""
        if not isinstance(conn.sock, Timed):
            conn.sock = Timed(conn.sock)
        conn.sock.begin()
        kept = super().handle(conn)
        if kept is False:
            util.close_graceful(conn.sock)
        return kept
