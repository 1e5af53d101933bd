"""How many calls a host gets at once, and how long a host that keeps failing is left alone.

One dead host with thousands of jobs would otherwise hold every slot for the length of its time-outs. Here it holds
AT_ONCE, and after FAILURES time-outs none but one call after each pause. A call that gets no turn ends at once with
`Postpone`: nothing was sent.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sweephand.domain.handler import Postpone

AT_ONCE = 20
"""Calls to one host at once, of one tick."""
FAILURES = 3
"""Failures in a row after which a host is left alone between calls."""
FIRST_PAUSE = 2.0
"""Seconds of the first pause; each one doubles. None is shorter than what the failed call took."""
MAX_PAUSE = 120.0
"""Seconds: no pause is longer."""
PATIENCE = 2.0
"""Seconds that a full host may go without finishing a call before calls for it wait no longer in their slots.

Twice what its calls usually take, where that is longer: a slow host is not a dead one.
"""
STALLED_PAUSE = 5.0
"""Seconds, and up to as many again, until a call is tried again that found its host full and silent."""
MAX_FAILING = 1000
"""Failing hosts that a process remembers."""
_WEIGHT = 0.2
"""How much one call counts in what a host's calls usually take."""


@dataclass(slots=True)
class Failing:
    """A host's failures in a row, and how long it is left alone."""

    count: int = 0
    pause: float = 0.0
    """Seconds of the last pause."""
    error: str = ""
    since: float = float("-inf")
    """When the last pause began: a call that was sent before says nothing new."""
    until: float = float("-inf")


@dataclass(slots=True)
class _Host:
    in_flight: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    moved: float = 0.0
    """When it last finished a call, or became full."""
    usual: float = 0.0
    """Seconds that its calls take, the last ones most."""


class Hosts:
    """The turns of all hosts on one event loop.

    `failing` outlives it: a process that ran a tick knows in its next one which hosts are dead.
    """

    def __init__(
        self,
        failing: dict[str, Failing],
        *,
        now: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._failing, self._now, self._jitter = failing, now, jitter
        self._hosts: dict[str, _Host] = {}

    async def enter(self, name: str) -> float:
        """Wait for a turn to call the host `name`; return when it began, which `leave` takes.

        Raises `Postpone` where the host is to be left alone, or is full and finishes nothing.
        """
        host = self._hosts.get(name) or _Host()
        self._check_pause(name, host)
        self._hosts[name] = host
        if host.in_flight >= AT_ONCE:
            await self._wait(name, host)
        else:
            host.in_flight += 1
            if host.in_flight == AT_ONCE:
                host.moved = self._now()
        return self._now()

    def leave(self, name: str, began: float, error: str | None) -> None:
        """End a turn. `error`: why the host gave no answer; None when it answered, whatever it said."""
        host = self._hosts[name]
        now = host.moved = self._now()
        host.in_flight -= 1
        if error is None:
            self._failing.pop(name, None)
            host.usual += _WEIGHT * (now - began - host.usual)
        else:
            self._fail(name, began, error)
        self._hand_on(name, host)
        self._forget(name, host)

    def give_back(self, name: str) -> None:
        """End a turn in which nothing was learned of the host: its call was refused or cancelled."""
        host = self._hosts[name]
        host.in_flight -= 1
        self._hand_on(name, host)
        self._forget(name, host)

    def _forget(self, name: str, host: _Host) -> None:
        """Drop an idle host, unless it is slow: what calls of it may take is worth knowing."""
        if not host.in_flight and not host.waiting and 2 * host.usual <= PATIENCE:
            del self._hosts[name]

    def _check_pause(self, name: str, host: _Host) -> None:
        failing = self._failing.get(name)
        if failing is None or failing.count < FAILURES:
            return
        left = failing.until - self._now()
        if left <= 0 and not host.in_flight:
            return  # this call finds out whether it answers again
        # Where that one is under way it may take as long as the last, which the pause is at least as long as.
        after = (left if left > 0 else failing.pause) + failing.pause * self._jitter()
        raise Postpone(
            after,
            f"not sent: {name} has not answered {failing.count} calls in a row, the last: {failing.error}; it is "
            f"called again in {max(left, 0):.0f} s, this job in {after:.0f} s",
        )

    async def _wait(self, name: str, host: _Host) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        host.waiting.append(turn)
        try:
            while not turn.done():
                left = host.moved + max(PATIENCE, 2 * host.usual) - self._now()
                self._check_stalled(name, left)
                await asyncio.wait([turn], timeout=left)
            turn.result()
        except BaseException:
            if not turn.done():
                turn.cancel()
                host.waiting.remove(turn)
            elif not turn.cancelled() and turn.exception() is None:
                self.give_back(name)
            raise

    def _check_stalled(self, name: str, left: float) -> None:
        if left > 0:
            return
        after = STALLED_PAUSE * (1 + self._jitter())
        raise Postpone(
            after, f"not sent: {AT_ONCE} calls to {name} are under way and none has ended; next in {after:.0f} s"
        )

    def _fail(self, name: str, began: float, error: str) -> None:
        failing = self._failing.setdefault(name, Failing())
        if len(self._failing) > MAX_FAILING:
            self._failing.pop(next(iter(self._failing)))  # the one that has been failing longest
        failing.error = error
        if began < failing.since:
            return
        failing.count += 1
        if failing.count < FAILURES:
            return
        now = self._now()
        failing.pause = min(max(FIRST_PAUSE, 2 * failing.pause, now - began), MAX_PAUSE)
        failing.since, failing.until = now, now + failing.pause

    def _hand_on(self, name: str, host: _Host) -> None:
        """Give the turn that has become free to who waits for it, or send all away where the host is failing."""
        while host.waiting:
            turn = host.waiting.popleft()
            if turn.done():
                continue
            try:
                self._check_pause(name, host)
            except Postpone as e:
                turn.set_exception(e)
                continue
            host.in_flight += 1
            turn.set_result(None)
            return
