"""How many calls a host gets at once, and how a host that keeps failing is left alone."""

import asyncio
import time
from typing import Any

import pytest

from sweephand.domain.handler import Postpone, Retry
from sweephand.handlers.http_call.hosts import (
    AT_ONCE,
    FAILURES,
    FIRST_PAUSE,
    MAX_PAUSE,
    PATIENCE,
    STALLED_PAUSE,
    Failing,
    Hosts,
)
from tests.handlers.calling import Caller, loopback_opened
from tests.handlers.http_server import Request, Server, plain, says

__all__ = ["loopback_opened"]
HOST = "https://hooks.example.com"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        """Return its time."""
        return self.at


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


def hosts(clock: Clock, failing: dict[str, Failing] | None = None) -> Hosts:
    """Return the hosts of a tick, without jitter."""
    return Hosts({} if failing is None else failing, now=clock, jitter=lambda: 0.0)


def test_a_host_gets_so_many_calls_at_once_and_every_call_its_turn() -> None:
    """Of 100 calls to a host at most AT_ONCE are under way, and all are answered in the end."""
    caller = Caller()

    async def slow(_request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(plain())

    async def main() -> None:
        async with Server(slow) as server:
            done = await asyncio.gather(*(caller.call(server.url) for _ in range(100)))
            assert [result["status"] for result in done] == [200] * 100
            assert server.most_open == AT_ONCE

    caller.run(main)


def test_a_dead_host_does_not_take_the_slots_of_others() -> None:
    """10,000 jobs of a silent host, due before 200 of another: those are done long before a time-out."""
    caller = Caller()
    slots = asyncio.Semaphore(100)
    postponed: list[Postpone] = []

    async def job(url: str) -> dict[str, Any] | None:
        async with slots:
            try:
                return await caller.call(url, timeout=30)
            except Postpone as e:
                postponed.append(e)
                return None

    async def silent(_request: Request, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def main() -> float:
        async with Server(silent) as dead, Server(says(plain())) as alive:
            began = time.monotonic()
            lost = [asyncio.ensure_future(job(dead.url)) for _ in range(10_000)]
            done = await asyncio.gather(*(job(alive.url) for _ in range(200)))
            took = time.monotonic() - began
            assert [result and result["status"] for result in done] == [200] * 200
            assert len(dead.requests) == AT_ONCE
            for each in lost:
                each.cancel()
            await asyncio.gather(*lost, return_exceptions=True)
            return took

    assert PATIENCE <= caller.run(main) < 20
    assert len(postponed) == 10_000 - AT_ONCE
    assert all(each.after >= STALLED_PAUSE and each.reason.startswith("not sent: ") for each in postponed)


def test_a_host_that_refuses_connections_is_left_alone_after_three_failures() -> None:
    """Three failures in a row are told as they are; the next call is not made, and says until when and why."""
    caller = Caller()

    async def main() -> None:
        async with Server(says(plain())) as server:
            url = server.url
        for _ in range(FAILURES):
            with pytest.raises(Retry, match="cannot be reached") as failed:
                await caller.call(url)
            assert not isinstance(failed.value, Postpone)
        with pytest.raises(Postpone) as asked:
            await caller.call(url)
        assert f"{url} has not answered 3 calls in a row, the last: 127.0.0.1 cannot be reached" in str(asked.value)
        assert 1 <= asked.value.after <= 2 * FIRST_PAUSE

    caller.run(main)
    with pytest.raises(Postpone):  # a later tick of the process knows it still
        caller.run(lambda: caller.call(next(iter(caller.service._failing))))


def test_an_error_that_the_host_answers_is_no_failure_of_the_host() -> None:
    """A host that answers 500 is there: its calls go on, each with its own backoff."""
    caller = Caller()

    async def main() -> int:
        async with Server(says(plain(500))) as server:
            for _ in range(2 * FAILURES):
                with pytest.raises(Retry, match="answered 500"):
                    await caller.call(server.url)
            return len(server.requests)

    assert caller.run(main) == 2 * FAILURES


async def _fails(found: Hosts, clock: Clock) -> float:
    """Fail a call; return for how long the host is left alone."""
    found.leave(HOST, await found.enter(HOST), "no answer")
    try:
        began = await found.enter(HOST)
    except Postpone as e:
        return e.after
    found.give_back(HOST)
    assert began == clock.at
    return 0


def test_pauses_grow_up_to_a_limit(clock: Clock) -> None:
    """After each call that fails the host is left alone twice as long, and for two minutes at most."""

    async def main() -> list[float]:
        found = hosts(clock)
        pauses = []
        for _ in range(FAILURES + 9):
            pauses.append(await _fails(found, clock))
            clock.at += pauses[-1]
        return pauses

    assert asyncio.run(main()) == [0, 0, 2, 4, 8, 16, 32, 64, *[MAX_PAUSE] * 4]


def test_after_a_pause_one_call_finds_out(clock: Clock) -> None:
    """One call goes to a host after its pause, and others wait for its end; an answer ends all pauses."""

    async def main() -> None:
        failing: dict[str, Failing] = {}
        found = hosts(clock, failing)
        while not await _fails(found, clock):
            pass
        clock.at += FIRST_PAUSE
        probe = await found.enter(HOST)
        for _ in range(5):
            with pytest.raises(Postpone):
                await found.enter(HOST)
        found.leave(HOST, probe, None)
        assert failing == {}
        turns = [await found.enter(HOST) for _ in range(AT_ONCE)]
        assert len(turns) == AT_ONCE

    asyncio.run(main())


def test_calls_that_fail_together_count_once(clock: Clock) -> None:
    """Twenty calls that time out at the same moment are one reason to wait, as long as they took, not twenty."""

    async def main() -> None:
        found = hosts(clock)
        turns = [await found.enter(HOST) for _ in range(AT_ONCE)]
        clock.at += 30
        for began in turns:
            found.leave(HOST, began, "timed out")
        with pytest.raises(Postpone) as asked:
            await found.enter(HOST)
        assert asked.value.after == 30
        clock.at += 30
        await found.enter(HOST)
        with pytest.raises(Postpone) as asked:  # while one call finds out, which may take as long again
            await found.enter(HOST)
        assert asked.value.after == 30

    asyncio.run(main())


def test_a_call_that_is_cancelled_while_it_waits_keeps_no_turn(clock: Clock) -> None:
    """Its turn goes to the next: a host never ends up with fewer turns than it has."""

    async def main() -> None:
        found = hosts(clock)
        turns = [await found.enter(HOST) for _ in range(AT_ONCE)]
        waiting = [asyncio.create_task(found.enter(HOST)) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        for began in turns[:2]:
            found.leave(HOST, began, None)
        waiting[1].cancel()  # it has its turn already, and has not gone on yet
        await asyncio.wait(waiting[:3])
        assert waiting[2].done() and not waiting[2].cancelled()  # noqa: PT018 - one fact
        for began in turns[2:]:
            found.leave(HOST, began, None)
        await asyncio.gather(*waiting[3:])
        again = [await found.enter(HOST) for _ in range(AT_ONCE - 3)]
        assert len(again) == AT_ONCE - 3
        late = asyncio.create_task(found.enter(HOST))
        await asyncio.sleep(0.01)
        assert not late.done()
        late.cancel()

    asyncio.run(main())


def test_who_waits_for_a_host_is_sent_away_when_it_fails(clock: Clock) -> None:
    """When the calls under way show that a host is dead, those that wait in their slots leave them at once."""

    async def main() -> None:
        found = hosts(clock)
        turns = [await found.enter(HOST) for _ in range(AT_ONCE)]
        waiting = [asyncio.create_task(found.enter(HOST)) for _ in range(50)]
        await asyncio.sleep(0)
        for began in turns[:FAILURES]:
            found.leave(HOST, began, "no route to it")
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert sum(isinstance(each, Postpone) for each in ended) == 50 - (FAILURES - 1)

    asyncio.run(main())


def test_a_slow_host_is_not_a_dead_one(clock: Clock) -> None:
    """Calls wait for their turn for twice as long as the host's calls usually take."""

    async def main() -> None:
        found = hosts(clock)
        for _ in range(30):
            began = await found.enter(HOST)
            turns = [await found.enter(HOST) for _ in range(AT_ONCE - 1)]
            clock.at += 10
            for each in (began, *turns):
                found.leave(HOST, each, None)
            turns = []
        keep = [await found.enter(HOST) for _ in range(AT_ONCE)]
        clock.at += 3 * PATIENCE
        waiting = asyncio.create_task(found.enter(HOST))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        found.leave(HOST, keep[0], None)
        await waiting

    asyncio.run(main())
