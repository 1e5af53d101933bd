"""Waiting for notifications of new jobs."""

import threading

import pytest
import redis

from sweephand.adapters import redis as redis_index
from sweephand.ports.index import ClaimOptions, Index, IndexUpdates, Lane
from tests.index.test_contract import HERE
from tests.waiting import blocked, wait_until

LANE = Lane("noop", 3)


class Heard:
    """Keeps what a listener was notified of."""

    def __init__(self) -> None:
        self._arrived = threading.Semaphore(0)
        self.lanes: list[Lane | None] = []

    def __call__(self, lane: Lane | None) -> None:
        """Keep the lane."""
        self.lanes.append(lane)
        self._arrived.release()

    def within(self, seconds: float) -> bool:
        """Wait for one more notification, at most so long; tell whether there was one."""
        return self._arrived.acquire(timeout=seconds)


def notify(index: Index) -> None:
    """Notify the tick that waits, as a create does."""
    index.sync_and_claim(HERE, IndexUpdates(), options=ClaimOptions(notify=LANE))


def test_a_notification_reaches_the_listener_that_is_open(index: Index, url: str) -> None:
    """A listener that is closed stops waiting on any kind of server, and takes no notification from another."""
    closed, listening = Heard(), Heard()
    first = index.listen(HERE, closed)
    with redis.Redis.from_url(url.removesuffix("?cluster=true")) as seen:
        wait_until(lambda: blocked(seen))
        first.close()
        wait_until(lambda: not blocked(seen))
    second = index.listen(HERE, listening)
    notify(index)
    assert listening.within(20)
    assert listening.lanes == [LANE]
    assert not closed.within(0)
    second.close()


def test_a_listener_that_is_closed_before_it_waits_puts_a_notification_back(
    one_index: Index, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """If `close` found no connection to shut, it pops the next notification, and leaves it to another listener."""
    closed, listening = Heard(), Heard()
    first = one_index.listen(HERE, closed)
    wait_until(lambda: blocked(redis_client))
    with monkeypatch.context() as patched:
        patched.setattr(redis_index, "disconnect", lambda _client: None)
        first.close()
    second = one_index.listen(HERE, listening)
    wait_until(lambda: len(blocked(redis_client)) == 2)
    notify(one_index)
    assert listening.within(20)
    assert not closed.within(0)
    second.close()


def test_a_broken_listener_says_so_and_listens_again(one_index: Index, redis_client: "redis.Redis") -> None:
    """It notifies of any lane at once, as it may have missed notifications, and later ones arrive."""
    heard = Heard()
    listener = one_index.listen(HERE, heard)
    wait_until(lambda: blocked(redis_client))
    redis_client.client_kill_filter(_type="normal", skipme=True)
    assert heard.within(20)
    notify(one_index)
    assert heard.within(20)
    listener.close()
