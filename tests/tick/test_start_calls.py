"""Start calls beside each other."""

import asyncio

import pytest

from sweephand.domain.handler import Isolation
from sweephand.usecases.tick.start import MOST, StartCalls

ONE = [Isolation.ASYNC]
Task = asyncio.Task[None]


async def _nothing(_before: Task | None) -> None:
    """Be a call that is over at once."""


async def _fails(_before: Task | None) -> None:
    raise OSError("away")


def test_at_most_so_many_are_under_way() -> None:
    """A further one waits for the oldest; what is under way counts against the room of its lane."""

    async def run() -> None:
        gates = [asyncio.Event() for _ in range(MOST + 1)]
        began: list[int] = []
        happened: list[int] = []
        starts = StartCalls(lambda: happened.append(1))

        def call(at: int) -> "asyncio.Task[None]":
            async def one(_before: Task | None) -> None:
                began.append(at)
                await gates[at].wait()

            return asyncio.create_task(starts.begin(one, [Isolation.ASYNC] * 3 + [Isolation.THREAD]))

        calls = [call(at) for at in range(MOST + 1)]
        await asyncio.wait(calls[:MOST])
        assert (starts.claimed[Isolation.ASYNC], starts.claimed[Isolation.THREAD]) == (3 * MOST, MOST)
        await asyncio.sleep(0.01)
        assert (began, calls[MOST].done(), happened) == (list(range(MOST)), False, [])
        gates[0].set()
        await calls[MOST]
        assert starts.claimed[Isolation.ASYNC] == 3 * MOST
        for gate in gates:
            gate.set()
        await starts.finish()
        assert (began, len(happened), starts.under_way) == (list(range(MOST + 1)), MOST + 1, False)
        assert not any(starts.claimed[isolation] for isolation in Isolation)

    asyncio.run(run())


def test_each_is_given_the_one_before() -> None:
    """So that it can hand over in order; a first one has none to wait for."""

    async def run() -> None:
        given: list[Task | None] = []

        async def one(before: Task | None) -> None:
            given.append(before)

        starts = StartCalls(lambda: None)
        await starts.begin(one, ONE)
        await starts.begin(one, ONE)
        await starts.finish()
        await starts.begin(one, ONE)
        await starts.finish()
        assert given[0] is None
        assert isinstance(given[1], asyncio.Task)
        assert given[2] is None

    asyncio.run(run())


def test_an_error_is_raised_once_and_leaves_nothing_counted() -> None:
    """`finish` and `begin` raise what a call raised, and `end` does not."""

    async def run() -> None:
        starts = StartCalls(lambda: None)
        await starts.begin(_fails, ONE)
        with pytest.raises(OSError, match="away"):
            await starts.finish()
        for _ in range(MOST):
            await starts.begin(_fails, ONE)
        with pytest.raises(OSError, match="away"):
            await starts.begin(_nothing, ONE)
        await starts.end()
        assert starts.claimed[Isolation.ASYNC] == 0

    asyncio.run(run())
