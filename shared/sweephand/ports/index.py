"""The index: when to look at which job, kept by Redis. Redis may forget anything at any time.

The values come first, then `Index`, which names every key, calls the scripts of `adapters/lua`, and reads their
answers. The scripts' headers say what each field means.
"""

import dataclasses
import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from sweephand.domain.attempt import Claim
from sweephand.domain.errors import IndexUnavailableError
from sweephand.ports import index_keys
from sweephand.ports.record import Due

_JOB_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TYPE = re.compile(rb"[a-z][a-z0-9_.-]{0,63}")
log = logging.getLogger("sweephand")
Answer = TypeVar("Answer")


class Lane(NamedTuple):
    """The jobs of one type at one priority, which one ZSET holds."""

    type: str
    priority: int


@dataclass(frozen=True, slots=True)
class ClaimQuota:
    """Lanes of which a call claims at most `capacity` jobs together."""

    lanes: Sequence[Lane]
    capacity: int


@dataclass(slots=True)
class IndexUpdates:
    """What the record has said of jobs, and the index does not know yet."""

    remove: list[Claim] = field(default_factory=list)
    """Started or finished: forget the job."""
    postpone: list[tuple[Claim, int]] = field(default_factory=list)
    """Look at the job in so many ms. Changes nothing if another tick has claimed the job since."""
    release: list[Claim] = field(default_factory=list)
    """Not started: give the job its old score back. Changes nothing if another tick has claimed the job since."""
    add: list[Due] = field(default_factory=list)
    """Look at the job when it is due. Never moves a job that the index has."""
    requeue: list[Due] = field(default_factory=list)
    """Settled and pending again: look at the job when it is due, even if a tick that saw it leased postponed it."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to update."""
        return bool(self.remove or self.postpone or self.release or self.add or self.requeue)

    @property
    def reopened(self) -> Lane | None:
        """Return the lane of a job that these updates let be claimed again; None if they do so for no job."""
        entries: list[Claim | Due] = [*self.requeue[:1], *self.release[:1]]
        return Lane(entries[0].type, entries[0].priority) if entries else None


@dataclass(frozen=True, slots=True)
class ClaimOptions:
    """What `sync_and_claim` does besides updating and claiming."""

    hold_ms: int = 0
    """How long a claim holds a job."""
    begins: bool = False
    """A scheduled tick begins: count a new generation, and notify the tick that waits."""
    notify: Lane | None = None
    """Notify the tick that waits: this lane has a new job."""
    count_due: bool = False
    """Count the jobs that are due and not claimed."""
    trigger: "TriggerRequest | None" = None
    """Tell whether the caller must trigger a tick. Other callers then count on that tick for some seconds."""
    tick: "ActiveTick | None" = None
    """The caller is a tick."""
    far_ms: int | None = None
    """Pull in a due job of `add` that the index looks at later than in so many ms: no claim holds a job so long."""
    upto_ms: Mapping[Lane, int] = field(default_factory=dict)
    """From these lanes, claim only jobs that were due so many ms ago or earlier (as a negative number)."""


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """Asks for a tick that is still active in `wait_ms`; a triggered tick stays active for `stay_ms`."""

    wait_ms: int
    stay_ms: int


@dataclass(frozen=True, slots=True)
class ActiveTick:
    """A calling tick. It is active while it claims, works, or would wait for the job that comes due next."""

    name: str
    stay_ms: int
    """How long it would wait for a job to come due."""
    works: bool
    """It runs handlers, and looks at the index again within a second."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one call claimed, and what it saw."""

    claims: Sequence[Claim]
    added: int
    """How many jobs of `add` the index lacked."""
    grown: frozenset[Lane] = frozenset()
    """The lanes that lacked a job of `add`."""
    generation: int = 0
    """The generation of the latest scheduled tick; 0 before the first, or after a flush."""
    next_ms: int | None = None
    """Milliseconds until a job of the quotas' lanes comes due; None if none does, or if this call claimed any."""
    coming: Sequence[tuple[Lane, int]] = ()
    """Lanes of any type that come due next, and in how many ms; empty if this call claimed anything."""
    due_lanes: Sequence[Lane] = ()
    """Lanes of any type that are due after this call; the lane that has waited longest for a turn comes first."""
    due_count: int = 0
    """How many jobs are due and not claimed, if the options ask for that."""
    must_trigger: bool = False
    """No tick will be active: the caller must trigger one. Only if the options ask for that."""
    forgot: bool = False
    """The index knows nothing of any tick; it may have lost that."""
    is_active: bool = False
    """The calling tick counts as active."""
    foreign: Sequence[str] = ()
    """Members that were no job's id or no type's name, in words. They have been removed."""


NO_OPTIONS = ClaimOptions()
"""Only update and claim."""


class Listener(Protocol):
    """Waits for notifications until it is closed."""

    def close(self) -> None:
        """Stop waiting; returns at once."""
        ...


class IndexServer(Protocol):
    """The server that keeps the index. It may be used from several threads."""

    def run(self, script: str, keys: Sequence[str], *args: str | bytes) -> Any:
        """Run `lua/{script}.lua`, atomically, and return what it returns; strings come as bytes.

        Raises `IndexUnavailableError` when there is no answer.
        """
        ...

    def listen(self, key: str, heard: Callable[[bytes | None], None]) -> Listener:
        """Call `heard`, from another thread, with each element that is put into the list at `key`.

        Returns at once, whatever the server does. Calls `heard` with None when it may have missed elements.
        """
        ...


class Index:
    """The index's verbs. Each raises `IndexUnavailableError` when there is no answer; any thread may call them."""

    def __init__(self, server: IndexServer) -> None:
        self._server = server

    def sync_and_claim(
        self,
        installation: str,
        updates: IndexUpdates,
        quotas: Sequence[ClaimQuota] = (),
        options: ClaimOptions = NO_OPTIONS,
    ) -> Claimed:
        """Carry out `updates`, then claim due jobs, in one round trip.

        Claims from the highest priority down, as far as each quota has capacity. The lanes of one priority get the
        same share, and what one lane does not use the others get. Within a lane the oldest job comes first.
        """
        lanes = _NumberedLanes(installation, updates, quotas)
        answer = self._run_sync(lanes, _request(lanes, updates, quotas, options), _Answer.read)
        if answer.deleted:
            log.error("deleted keys of the index that held something else: %s", ", ".join(answer.deleted))
        return self._without_foreign(answer) if answer.foreign else answer.claimed

    def missing(self, installation: str, jobs: Sequence[Due]) -> int:
        """Return how many of `jobs` the index lacks."""
        updates = IndexUpdates(add=list(jobs))
        lanes = _NumberedLanes(installation, updates, ())
        request = _request(lanes, updates, (), NO_OPTIONS, dry=True)
        return self._run_sync(lanes, request, lambda _, answer: int(answer[0]))

    def look_up(self, installation: str, job: Due) -> int | None:
        """Return milliseconds until the index looks at a job, or None if the index lacks the job.

        0 or less means that the job is due.
        """
        key = index_keys.lane_key(installation, job.type, job.priority)
        found = self._server.run("look_up", [key], job.id)
        return None if found is None else int(found)

    def listen(self, installation: str, notified: Callable[[Lane | None], None]) -> Listener:
        """Call `notified` with the lane of each notification, from another thread, until the listener is closed.

        Returns at once, whatever the index does. `None` for the lane says that any lane may have a new job.
        """
        return self._server.listen(
            index_keys.notification_key(installation),
            lambda text: notified(None if text is None else _lane_of(text)),
        )

    def _run_sync(
        self, lanes: "_NumberedLanes", request: str, read: "Callable[[_NumberedLanes, Any], Answer]"
    ) -> Answer:
        answer = self._server.run("sync_and_claim", lanes.keys, request)
        try:
            return read(lanes, answer)
        except (ArithmeticError, LookupError, TypeError, ValueError) as e:
            raise IndexUnavailableError(f"The index gives no answer of ours: {type(e).__name__}.") from e

    def _without_foreign(self, answer: "_Answer") -> Claimed:
        """Remove members that are no job's id or type's name, and name them."""
        with suppress(IndexUnavailableError):  # the next call meets them again
            for key, member in answer.foreign:
                self._server.run("remove", [key], member)
        named = tuple(f"{member[:80]!r} in {key}" for key, member in answer.foreign)
        log.error("removed %d foreign members of the index: %s", len(named), "; ".join(named[:5]))
        return dataclasses.replace(answer.claimed, foreign=named)


class _NumberedLanes:
    """The lanes that a call names, numbered from 1, and the quota of each: 0 if the call only updates the lane."""

    def __init__(self, installation: str, updates: IndexUpdates, quotas: Sequence[ClaimQuota]) -> None:
        self.lanes: list[Lane] = []
        self.quotas: list[int] = []
        self._installation = installation
        self._numbers: dict[tuple[str, int], int] = {}
        self.priority_keys = index_keys.priority_keys(installation)
        self.lane_keys: list[str] = []
        for number, quota in enumerate(quotas, 1):
            for lane in quota.lanes:
                self._add(lane, number)
        updated: Iterable[Claim | Due] = (
            *updates.remove,
            *(claim for claim, _ in updates.postpone),
            *updates.release,
            *updates.add,
            *updates.requeue,
        )
        for job in updated:
            if (job.type, job.priority) not in self._numbers:
                self._add(Lane(job.type, job.priority), 0)
        self.keys = [
            index_keys.generation_key(installation),
            index_keys.notification_key(installation),
            index_keys.active_tick_key(installation),
            *self.priority_keys,
            *self.lane_keys,
        ]

    def _add(self, lane: Lane, quota: int) -> None:
        self.lane_keys.append(index_keys.lane_key(self._installation, lane.type, lane.priority))
        self.lanes.append(lane)
        self.quotas.append(quota)
        self._numbers[lane] = len(self.lanes)

    def of(self, job: Claim | Due) -> int:
        return self._numbers[job.type, job.priority]


def _request(
    lanes: _NumberedLanes,
    updates: IndexUpdates,
    quotas: Sequence[ClaimQuota],
    options: ClaimOptions,
    *,
    dry: bool = False,
) -> str:
    """Return the script's argument."""
    notify, trigger, tick = options.notify, options.trigger, options.tick
    return json.dumps(
        {
            "hold": options.hold_ms,
            "capacities": [max(0, quota.capacity) for quota in quotas],
            "lanes": [
                [lane.priority, lane.type, quota, *_upto(lane, options)]
                for lane, quota in zip(lanes.lanes, lanes.quotas, strict=True)
            ],
            "remove": _rows(lanes, ((claim, (claim.id,)) for claim in updates.remove)),
            "postpone": [[lanes.of(claim), claim.id, claim.held, ms] for claim, ms in updates.postpone],
            "release": [[lanes.of(claim), claim.id, claim.held, claim.score] for claim in updates.release],
            "requeue": [[lanes.of(job), job.id, job.wait_ms] for job in updates.requeue],
            "add": _rows(lanes, ((job, (job.id, job.wait_ms)) for job in updates.add)),
            "dry": dry,
            "begins": options.begins,
            "notify": f"{notify.priority} {notify.type}" if notify else False,
            "count_due": options.count_due,
            **({"far": options.far_ms} if options.far_ms is not None else {}),
            **({"trigger": [trigger.wait_ms, trigger.stay_ms]} if trigger else {}),
            **({"tick": tick.name, "stay": tick.stay_ms, "works": tick.works} if tick else {}),
        },
        separators=(",", ":"),
    )


def _upto(lane: Lane, options: ClaimOptions) -> list[int]:
    return [options.upto_ms[lane]] if lane in options.upto_ms else []


def _rows(
    lanes: _NumberedLanes, jobs: Iterable[tuple[Claim | Due, tuple[int | str, ...]]]
) -> list[list[int | str]]:
    """Return one row for each lane: its number, then the values of its jobs."""
    rows: dict[int, list[int | str]] = {}
    for job, values in jobs:
        number = lanes.of(job)
        rows.setdefault(number, [number]).extend(values)
    return list(rows.values())


class _Answer(NamedTuple):
    """What a call claimed; foreign members as (key, member); and the keys that the script deleted."""

    claimed: Claimed
    foreign: Sequence[tuple[str, bytes]]
    deleted: Sequence[str]

    @classmethod
    def read(cls, lanes: _NumberedLanes, answer: Any) -> "_Answer":
        """Read an answer; raises `ValueError`, `TypeError` or `LookupError` for one of another shape."""
        (added, rows, generation, coming, due_count, must_trigger, is_active, due_lanes, grown, forgot, next_ms,
         deleted) = answer  # fmt: skip
        foreign: list[tuple[str, bytes]] = []
        claims = [claim for row in rows for claim in _claims(lanes, row, foreign)]
        soon = zip(coming[::3], coming[1::3], coming[2::3], strict=True)
        due = ((priority, name, 0) for priority, name in zip(due_lanes[::2], due_lanes[1::2], strict=True))
        claimed = Claimed(
            claims,
            added=int(added),
            grown=frozenset(lanes.lanes[int(number) - 1] for number in grown),
            generation=int(generation),
            next_ms=None if next_ms < 0 else int(next_ms),
            coming=list(_lanes(lanes, soon, foreign)),
            due_lanes=[lane for lane, _ in _lanes(lanes, due, foreign)],
            due_count=int(due_count),
            must_trigger=bool(must_trigger),
            forgot=bool(forgot),
            is_active=bool(is_active),
        )
        return cls(claimed, foreign, [key.decode(errors="replace") for key in deleted])


def _claims(lanes: _NumberedLanes, row: Sequence[Any], foreign: list[tuple[str, bytes]]) -> Iterable[Claim]:
    """Yield the claims of one row, and note its foreign members."""
    number, held, jobs = int(row[0]), int(row[1]), row[2]
    lane = lanes.lanes[number - 1]
    for id_, text in zip(jobs[::2], jobs[1::2], strict=True):
        score = float(text)
        if _JOB_ID.fullmatch(id_):
            yield Claim(id_.decode(), lane.type, lane.priority, int(score) if math.isfinite(score) else 0, held)
        else:
            foreign.append((lanes.lane_keys[number - 1], id_))


def _lanes(
    lanes: _NumberedLanes, rows: Iterable[tuple[int, bytes, int]], foreign: list[tuple[str, bytes]]
) -> Iterable[tuple[Lane, int]]:
    """Yield lanes with their milliseconds, and note names that are no type's."""
    for priority, name, ms in rows:
        if _TYPE.fullmatch(name):
            yield Lane(name.decode(), int(priority)), int(ms)
        else:
            foreign.append((lanes.priority_keys[int(priority)], name))


def _lane_of(notification: bytes) -> Lane | None:
    """Return the lane that a notification names; None if it names none."""
    priority, _, type_ = notification.partition(b" ")
    if priority.isdigit() and len(priority) == 1 and _TYPE.fullmatch(type_):
        return Lane(type_.decode(), int(priority))
    return None
