"""Waiting for kicks."""

import threading
import time

import redis

from shared.adapters.redis_index import RedisIndex
from shared.ports.index import Ask, Moves
from tests.index.test_contract import HERE


class Heard:
    """Counts how often a listener was woken."""

    def __init__(self) -> None:
        self._woken = threading.Semaphore(0)

    def __call__(self) -> None:
        """Count."""
        self._woken.release()

    def within(self, seconds: float) -> bool:
        """Wait until it was woken once more; tell whether it was."""
        return self._woken.acquire(timeout=seconds)


def kick(index: RedisIndex) -> None:
    """Wake one that waits, as creating a job does."""
    index.step(HERE, Moves(), ask=Ask(kick=True))


def test_a_kick_is_for_who_still_listens(index: RedisIndex) -> None:
    """One that was closed while it waited takes no kick from one that began later, on no kind of server."""
    closed, open_ = Heard(), Heard()
    first = index.listen(HERE, closed)
    kick(index)
    assert closed.within(20)
    time.sleep(0.1)  # it waits again
    first.close()
    time.sleep(0.3)  # did it try again, it would stand before the other
    second = index.listen(HERE, open_)
    kick(index)
    assert open_.within(20)
    assert not closed.within(0)
    second.close()


def test_a_broken_wait_wakes_and_is_begun_again(one_index: RedisIndex, redis_client: "redis.Redis") -> None:
    """What was created while nobody listened is looked for at once, and later kicks are heard."""
    heard = Heard()
    listener = one_index.listen(HERE, heard)
    kick(one_index)
    assert heard.within(20)
    time.sleep(0.1)  # it waits again
    redis_client.client_kill_filter(_type="normal", skipme=True)
    assert heard.within(20)
    kick(one_index)
    assert heard.within(20)
    listener.close()
