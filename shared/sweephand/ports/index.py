"""The index: when to look at which job, kept by Redis. It may forget anything at any time.

Every method raises `IndexUnavailableError` when there is no answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sweephand.ports.record import Due


class Claim(NamedTuple):
    """An id that is held for the caller: its score before the claim, and the score that holds it, in ms."""

    id: str
    type: str
    priority: int
    score: int
    held: int


class Lane(NamedTuple):
    """What one ZSET holds: the jobs of one type at one priority."""

    type: str
    priority: int


@dataclass(frozen=True, slots=True)
class ClaimQuota:
    """Lanes that share the caller's room: at most `room` jobs are claimed from them together."""

    lanes: Sequence[Lane]
    room: int


@dataclass(slots=True)
class IndexUpdates:
    """What the index is to follow of what the record said."""

    remove: list[Claim] = field(default_factory=list)
    """Started or finished: not to be looked at again."""
    postpone: list[tuple[Claim, int]] = field(default_factory=list)
    """Not to be looked at for so many ms; left alone where another has claimed it since."""
    release: list[Claim] = field(default_factory=list)
    """Handed back unstarted, to the place where it was; left alone where another has claimed it since."""
    add: list[Due] = field(default_factory=list)
    """To be looked at when due; never moves what is there."""
    requeue: list[Due] = field(default_factory=list)
    """Settled, and pending again: to be looked at when due, also where a tick that saw it leased has put it off."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self.remove or self.postpone or self.release or self.add or self.requeue)

    @property
    def reopened(self) -> Lane | None:
        """Return the lane of a job that was claimed and is to be looked at again; None where there is none."""
        entries: list[Claim | Due] = [*self.requeue[:1], *self.release[:1]]
        return Lane(entries[0].type, entries[0].priority) if entries else None


@dataclass(frozen=True, slots=True)
class ClaimOptions:
    """What a step does beside moving and claiming."""

    hold_ms: int = 0
    """How long a claim holds."""
    begins: bool = False
    """A scheduled tick begins: it gets a generation of its own, and who waits for a kick is woken."""
    notify: Lane | None = None
    """TriggerRequest who waits: there is something new in this lane."""
    count_due: bool = False
    """Count what is due and not claimed."""
    trigger: "TriggerRequest | None" = None
    """Tell whether no tick is awake; the caller calls one then, and for some seconds it is counted on."""
    tick: "ActiveTick | None" = None
    """The caller is a tick."""
    far_ms: int | None = None
    """Pull in what is added, due, and there already at a place further away than this: no claim holds so long."""
    upto_ms: Mapping[Lane, int] = field(default_factory=dict)
    """Claim nothing from these lanes that is due later than so many ms from now (negative: ago)."""


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """Asks for a tick that stays awake for another `wait_ms`; one that is called stays for `stay_ms`."""

    wait_ms: int
    stay_ms: int


@dataclass(frozen=True, slots=True)
class ActiveTick:
    """A tick, which counts as awake when it claims, is busy, or would wait for what comes due next."""

    name: str
    stay_ms: int
    """How long it would wait for something to come due."""
    works: bool
    """It runs handlers, and will look again within a second."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one call claimed, and what it saw."""

    claims: Sequence[Claim]
    added: int
    """How many of `add` were not there before."""
    grown: frozenset[Lane] = frozenset()
    """The lanes that got any of them."""
    generation: int = 0
    """The generation of the latest scheduled tick; 0 before the first, or after a flush."""
    next_ms: int | None = None
    """How long until something is due in the lanes of the quotas; told when nothing was claimed."""
    coming: Sequence[tuple[Lane, int]] = ()
    """Lanes that come due next, whoever may run them, and in how many ms; told when nothing was claimed."""
    due_lanes: Sequence[Lane] = ()
    """Lanes that are due after this step, whoever may run them: what has waited longest for a turn first."""
    due_count: int = 0
    """How many are due and were not claimed, if that was asked."""
    must_trigger: bool = False
    """No tick was awake, if that was asked: the caller is to call one."""
    forgot: bool = False
    """Nothing was known of ticks at all: the index may have lost it."""
    is_active: bool = False
    """The tick that asked counts as awake."""
    foreign: Sequence[str] = ()
    """Members and keys that were no job's, in words; they have been removed."""


NO_OPTIONS = ClaimOptions()
"""Only move and claim."""


class Listener(Protocol):
    """A wait for kicks that goes on until it is closed."""

    def close(self) -> None:
        """Stop waiting; returns at once."""
        ...


class Index(Protocol):
    """The index's verbs."""

    def sync_and_claim(
        self,
        installation: str,
        moves: IndexUpdates,
        quotas: Sequence[ClaimQuota] = (),
        ask: ClaimOptions = NO_OPTIONS,
    ) -> Claimed:
        """Carry out `moves`, then hold what is due and return it, in one round trip.

        What is due is taken from the highest priority down, as far as each quota has room. The lanes of one
        priority get the same share, and what one does not use the others get; within a lane the oldest goes first.
        """
        ...

    def missing(self, installation: str, jobs: Sequence[Due]) -> int:
        """Return how many of `jobs` are not in the index."""
        ...

    def look_up(self, installation: str, job: Due) -> int | None:
        """Return in how many ms the index will look at a job, 0 or less when it is due; None if it has it not."""
        ...

    def listen(self, installation: str, notified: Callable[[Lane | None], None]) -> Listener:
        """Call `notified` with the lane of each notification, from another thread, until the listener is closed.

        Returns at once, whatever the index does. `None` for the lane tells that notifications may have been missed.
        """
        ...
