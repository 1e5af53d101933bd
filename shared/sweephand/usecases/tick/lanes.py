"""What a tick knows of the index's lanes: which to name in a claim, and how far each may be claimed."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sweephand.ports.index import ClaimQuota, Lane
from sweephand.ports.record import Page
from sweephand.usecases.tick.run import PoolCapacity

NAMED = 64
"""Lanes that one claim names: the index looks at each of them."""
SLACK_MS = 100
"""By how much a bound is laid too late: what is added is placed some ms after it was read."""


class Lanes:
    """Lanes that are known to be due, lanes that were seen, and the bounds of lanes that lack earlier jobs."""

    def __init__(self) -> None:
        self._due: list[Lane] = []
        self._seen: dict[Lane, None] = {}
        self._bounds: dict[Lane, tuple[int, float]] = {}

    def note_page(self, page: Page) -> None:
        """Have claims name the lanes of a page's jobs."""
        self._seen.update(dict.fromkeys(Lane(job.type, job.priority) for job in page.jobs))

    def note_due(self, lanes: Iterable[Lane]) -> None:
        """Have the next claim name these lanes first: there is something new in them."""
        self._due = [*lanes, *self._due]

    def note_answer(self, due: Iterable[Lane], coming: Iterable[Lane], claimed: Iterable[Lane]) -> None:
        """Take in which lanes the index says are due or come due next, and from which lanes jobs were claimed."""
        self._due = list(due)
        if len(self._seen) > 4 * NAMED:  # those that matter are named again as due or coming
            self._seen = dict.fromkeys(claimed)
        self._seen.update(dict.fromkeys(coming))

    def quotas(self, pools: Sequence[PoolCapacity], tried: Collection[Lane]) -> list[ClaimQuota]:
        """Return the lanes to name: those known to be due first, then others, each the highest priority first.

        `tried` were named just before and had nothing: each round names others, so the rounds end.
        """
        pool_of = {type_: at for at, pool in enumerate(pools) for type_ in pool.types}
        due = sorted(dict.fromkeys(self._due), key=lambda lane: -lane.priority)
        seen = sorted(self._seen, key=lambda lane: -lane.priority)
        named: list[list[Lane]] = [[] for _ in pools]
        left = NAMED
        for lane in dict.fromkeys([*due, *seen]):
            if lane.type in pool_of and lane not in tried and left:
                named[pool_of[lane.type]].append(lane)
                left -= 1
        return [ClaimQuota(lanes, pool.capacity) for lanes, pool in zip(named, pools, strict=True)]

    def bound(self, page: Page, types: Collection[str], grown: Collection[Lane], at: float) -> None:
        """Keep later jobs of a lane waiting while earlier ones are missing from the index.

        The page showed `types` and was added `at` this time; the lanes in `grown` got something new from it. Where
        the page cut such a lane, the index may lack what comes behind, while it has jobs created since. The lane is
        claimed from as far as the page reached, until another page shows the rest.
        """
        reached = {Lane(job.type, job.priority): job.wait_ms for job in page.jobs}
        cut = {(row[0], row[1]) for row in page.cut if isinstance(row, list)}
        self._bounds = {lane: bound for lane, bound in self._bounds.items() if lane.type not in types}
        for lane, wait_ms in reached.items():
            if lane in grown and (lane.type, lane.priority) in cut and wait_ms < 0:
                self._bounds[lane] = (wait_ms, at)

    def unbind(self) -> None:
        """Forget all bounds: the index is away."""
        self._bounds.clear()

    def bounded(self, types: Collection[str]) -> bool:
        """Tell whether a lane of these types has jobs that the index lacks, before others that it has."""
        return any(lane.type in types for lane in self._bounds)

    def upto_ms(self, now: float) -> Mapping[Lane, int]:
        """Return up to when a claim may take jobs of bounded lanes, in ms from `now`."""
        return {
            lane: min(0, round(wait_ms - (now - at) * 1000) + SLACK_MS)
            for lane, (wait_ms, at) in self._bounds.items()
        }
