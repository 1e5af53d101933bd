"""The `Background` port on daemon threads: nothing can interrupt a name look-up, or a socket that hangs."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

log = logging.getLogger("sweephand")
KEPT = 8
"""Idle threads that wait for more work, at most. Handing work to one takes 20 µs; a new thread takes 140."""
IDLE = 10.0
"""Seconds that an idle thread waits."""
Work = tuple[Callable[[], None], "threading.Lock"]
"""What to do, and a lock that is held until it is done."""


class Threads:
    """One thread for each piece of work under way. Several threads may use it."""

    def __init__(self) -> None:
        self._idle: deque[SimpleQueue[Work]] = deque()

    def does(self, work: Callable[[], None], within: float) -> bool:
        """See the port."""
        under_way = threading.Lock()
        under_way.acquire()
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = SimpleQueue()
            threading.Thread(target=self._serve, args=(inbox,), name="sweephand-background", daemon=True).start()
        inbox.put((work, under_way))
        return under_way.acquire(timeout=within)

    def _serve(self, inbox: "SimpleQueue[Work]") -> None:
        while True:
            try:
                work, under_way = inbox.get(timeout=IDLE)
            except Empty:
                try:
                    self._idle.remove(inbox)
                except ValueError:  # `does` has just taken this thread: its work is on the way
                    continue
                return
            try:
                work()
            except Exception:
                log.exception("work in the background failed")
            stays = len(self._idle) < KEPT
            if stays:
                self._idle.append(inbox)
            under_way.release()
            if not stays:
                return
