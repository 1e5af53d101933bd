"""The index: when to look at which job, kept by Redis. It may forget anything at any time.

Every method raises `IndexUnavailableError` when there is no answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from shared.ports.record import Due


class Claimed(NamedTuple):
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
    again: list[Due] = field(default_factory=list)
    """Settled, and pending again: to be looked at when due, also where a tick that saw it leased has put it off."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self.remove or self.wait or self.back or self.add or self.again)

    @property
    def bring_back(self) -> bool:
        """Tell whether jobs that were claimed are to be looked at again."""
        return bool(self.back or self.again)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a step does beside moving and claiming."""

    hold_ms: int = 0
    """How long a claim holds."""
    enter: bool = False
    """A scheduled tick begins: it gets a generation of its own, and who waits for a kick is woken."""
    kick: bool = False
    """Wake who waits: there is something new."""
    count: bool = False
    """Count what is due and not claimed."""
    wake: "Wake | None" = None
    """Tell whether no tick is awake; the caller calls one then, and for some seconds it is counted on."""
    tick: "Awake | None" = None
    """The caller is a tick."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Asks for a tick that stays awake for another `wait_ms`; one that is called stays for `stay_ms`."""

    wait_ms: int
    stay_ms: int


@dataclass(frozen=True, slots=True)
class Awake:
    """A tick, which counts as awake when it claims, is busy, or would wait for what comes due next."""

    name: str
    stay_ms: int
    """How long it would wait for something to come due."""
    busy: bool
    """It runs handlers, and will look again within a second."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one call claimed, and what it saw."""

    claimed: Sequence[Claimed]
    added: int
    """How many of `add` were not there before."""
    generation: int = 0
    """The generation of the latest scheduled tick; 0 before the first, or after a flush."""
    next_ms: int | None = None
    """How long until something is due that could be claimed; told when nothing was claimed."""
    due: int = 0
    """How many are due and were not claimed, if that was asked."""
    asleep: bool = False
    """No tick was awake, if that was asked: the caller is to call one."""
    awake: bool = False
    """The tick that asked counts as awake."""
    lost: bool = False
    """It is not known who is awake: that was evicted, or flushed with all else."""


PLAIN = Ask()
"""Only move and claim."""


class Listener(Protocol):
    """A wait for kicks that goes on until it is closed."""

    def close(self) -> None:
        """Stop waiting; returns at once."""
        ...


class Index(Protocol):
    """The index's verbs."""

    def step(self, installation: str, moves: Moves, lanes: Sequence[Lane] = (), ask: Ask = PLAIN) -> Step:
        """Carry out `moves`, then hold what is due and return it, in one round trip.

        What is due is taken from the highest priority down, oldest first, as far as each lane has room.
        """
        ...

    def missing(self, installation: str, jobs: Sequence[Due]) -> int:
        """Return how many of `jobs` are not in the index."""
        ...

    def when(self, installation: str, job: Due) -> int | None:
        """Return in how many ms the index will look at a job, 0 or less when it is due; None if it has it not."""
        ...

    def listen(self, installation: str, woken: Callable[[], None]) -> Listener:
        """Call `woken`, from another thread, whenever there is a kick; not at all while there is no answer."""
        ...
