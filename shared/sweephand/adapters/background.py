"""The `Background` port on daemon threads: a look-up of a name, or a socket that hangs, cannot be interrupted."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

log = logging.getLogger("sweephand")
KEPT = 8
"""Threads that wait for further work. One that waits takes it in 20 µs; a new one for each took 140."""
IDLE = 10.0
"""Seconds that one waits for further work."""
Work = tuple[Callable[[], None], "threading.Lock"]


class Threads:
    """As many threads as there is work at once; may be used from several threads."""

    def __init__(self) -> None:
        self._waiting: deque[SimpleQueue[Work]] = deque()

    def does(self, work: Callable[[], None], within: float) -> bool:
        """See the port."""
        under_way = threading.Lock()
        under_way.acquire()
        try:
            given = self._waiting.pop()
        except IndexError:
            given = SimpleQueue()
            threading.Thread(target=self._serve, args=(given,), name="sweephand-background", daemon=True).start()
        given.put((work, under_way))
        return under_way.acquire(timeout=within)

    def _serve(self, given: "SimpleQueue[Work]") -> None:
        while True:
            try:
                work, under_way = given.get(timeout=IDLE)
            except Empty:
                try:
                    self._waiting.remove(given)
                except ValueError:  # it was taken this very moment: there will be work
                    continue
                return
            try:
                work()
            except Exception:
                log.exception("a piece of work in the background failed")
            keep = len(self._waiting) < KEPT
            if keep:
                self._waiting.append(given)
            under_way.release()
            if not keep:
                return
