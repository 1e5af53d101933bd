"""Waiting for kicks."""

import threading

import pytest
import redis

from sweephand.adapters import redis as redis_index
from sweephand.ports.index import ClaimOptions, Index, IndexUpdates, Lane
from tests.index.test_contract import HERE
from tests.waiting import blocked, wait_until

LANE = Lane("noop", 3)


class Heard:
    """Counts how often a listener was woken."""

    def __init__(self) -> None:
        self._woken = threading.Semaphore(0)
        self.lanes: list[Lane | None] = []

    def __call__(self, lane: Lane | None) -> None:
        """Count."""
        self.lanes.append(lane)
        self._woken.release()

    def within(self, seconds: float) -> bool:
        """Wait until it was woken once more; tell whether it was."""
        return self._woken.acquire(timeout=seconds)


def kick(index: Index) -> None:
    """TriggerRequest one that waits, as creating a job does."""
    index.sync_and_claim(HERE, IndexUpdates(), options=ClaimOptions(notify=LANE))


def test_a_kick_is_for_who_still_listens(index: Index, url: str) -> None:
    """One that was closed while it waited waits no more, on any kind of server, and takes no kick from another."""
    closed, listening = Heard(), Heard()
    first = index.listen(HERE, closed)
    with redis.Redis.from_url(url.removesuffix("?cluster=true")) as seen:
        wait_until(lambda: blocked(seen))
        first.close()
        wait_until(lambda: not blocked(seen))
    second = index.listen(HERE, listening)
    kick(index)
    assert listening.within(20)
    assert listening.lanes == [LANE]
    assert not closed.within(0)
    second.close()


def test_who_is_closed_before_it_waits_puts_a_kick_back(
    one_index: Index, redis_client: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there was no connection to shut yet, it takes the next kick, and leaves it to another."""
    closed, listening = Heard(), Heard()
    first = one_index.listen(HERE, closed)
    wait_until(lambda: blocked(redis_client))
    with monkeypatch.context() as patched:
        patched.setattr(redis_index, "disconnect", lambda _client: None)
        first.close()
    second = one_index.listen(HERE, listening)
    wait_until(lambda: len(blocked(redis_client)) == 2)
    kick(one_index)
    assert listening.within(20)
    assert not closed.within(0)
    second.close()


def test_a_broken_wait_wakes_and_is_begun_again(one_index: Index, redis_client: "redis.Redis") -> None:
    """What was created while nobody listened is looked for at once, and later kicks are heard."""
    heard = Heard()
    listener = one_index.listen(HERE, heard)
    wait_until(lambda: blocked(redis_client))
    redis_client.client_kill_filter(_type="normal", skipme=True)
    assert heard.within(20)
    kick(one_index)
    assert heard.within(20)
    listener.close()
