"""The index: when to look at which job, kept by Redis. It may forget anything at any time.

Every method raises `IndexUnavailableError` when there is no answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.ports.record import Due


@dataclass(frozen=True, slots=True)
class Claimed:
    """An id that is held for the caller: its score before the claim, and the score that holds it, in ms."""

    id: str
    type: str
    priority: int
    score: int
    hold: int


@dataclass(frozen=True, slots=True)
class Lane:
    """Types that share the caller's room: at most `room` of them are claimed together."""

    types: Sequence[str]
    room: int


@dataclass(slots=True)
class Moves:
    """What the index is to follow of what the record said."""

    remove: list[Claimed] = field(default_factory=list)
    """Started or finished: not to be looked at again."""
    wait: list[tuple[Claimed, int]] = field(default_factory=list)
    """Not to be looked at for so many ms; left alone where another has claimed it since."""
    back: list[Claimed] = field(default_factory=list)
    """Handed back unstarted, to the place where it was; left alone where another has claimed it since."""
    add: list[Due] = field(default_factory=list)
    """To be looked at when due; never moves what is there."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self.remove or self.wait or self.back or self.add)


@dataclass(frozen=True, slots=True)
class Step:
    """What one call claimed, and how many of `add` were not there before."""

    claimed: Sequence[Claimed]
    added: int


class Index(Protocol):
    """The index's verbs."""

    def step(self, installation: str, moves: Moves, lanes: Sequence[Lane] = (), hold_ms: int = 0) -> Step:
        """Carry out `moves`, then hold what is due for `hold_ms` and return it, in one round trip.

        What is due is taken from the highest priority down, oldest first, as far as each lane has room.
        """
        ...

    def missing(self, installation: str, jobs: Sequence[Due]) -> int:
        """Return how many of `jobs` are not in the index."""
        ...
