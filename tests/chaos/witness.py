"""What is noted while a run goes on: when each fault was, and whether a tick that said `drained` left work."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import psycopg
import redis

from tests.chaos.fairness import GRACE, Window
from tests.chaos.fleet import NEW, Life
from tests.chaos.verdict import ENDS

PROMPT = 1.0
"""Seconds after a tick's report within which the record still shows what the tick should have seen."""
SLACK = 5.0
"""Seconds beyond a claim's hold that a job must have been due: a tick's last look is before it winds up."""
SAMPLE = 50
"""How many of those that seem to be left are looked at more closely."""
OWN = 2.0
"""Seconds that an index may be slower than the record in letting go of a claim."""


class Part(StrEnum):
    """What a fault takes from everybody while it lasts; a neighbour takes nothing from the others."""

    RECORD = "record"
    INDEX = "index"
    SCHEDULE = "schedule"
    API = "api"
    TICK = "tick"
    NEIGHBOUR = "neighbour"


@dataclass
class Span:
    """One fault, from its beginning to its end."""

    name: str
    part: Part
    began: float
    ended: float = float("inf")


@dataclass(frozen=True)
class Left:
    """What a tick left behind that said `drained`."""

    life: Life
    jobs: Sequence[str]
    """Due for longer than a claim is held, with no lease, no lock and no claim."""


@dataclass
class Deployment:
    """An installation, as it is seen past every proxy."""

    name: str
    database_url: str


@dataclass
class Witness:
    """Notes what the verdict needs to know and the record does not keep."""

    installations: Sequence[Deployment]
    hold: float
    """Seconds that a claim is held."""
    index: Any
    """Makes a client of the index."""
    touched: set[str]
    spans: list[Span] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    looks: int = 0
    """How many ticks that said `drained` were held against the record."""
    blind: Counter[str] = field(default_factory=Counter)
    """Looks that came to nothing, and why."""

    @contextmanager
    def fault(self, name: str, part: Part) -> Iterator[None]:
        """Note when a fault is."""
        span = Span(name, part, time.time())
        self.spans.append(span)
        try:
            yield
        finally:
            span.ended = time.time()

    def outages(self, *parts: Part) -> list[Window]:
        """Return when one of these was taken from everybody, with the time that it is felt afterwards."""
        return [(span.began, span.ended + GRACE) for span in self.spans if span.part in parts]

    def disturbed(self, life: Life, *parts: Part) -> bool:
        """Tell whether one of these was taken from a tick while it was there, or just before."""
        return any(began <= life.ended and ended >= life.began for began, ended in self.outages(*parts))

    def saw_end(self, life: Life) -> None:
        """Hold what a tick said at its end against the record, at once."""
        now = time.time()
        if life.code or life.report.get("stopped") != "drained" or now - life.ended > PROMPT or life.freezes:
            return
        if any(a <= now and b >= life.began for a, b in self.outages(Part.RECORD, Part.INDEX, Part.SCHEDULE)):
            return
        try:
            jobs = self._left_by(life)
        except (psycopg.Error, redis.RedisError, redis.exceptions.RedisClusterException) as e:
            self.blind[type(e).__name__] += 1
            return
        self.looks += 1
        if jobs:
            self.left.append(Left(life, jobs))

    def _left_by(self, life: Life) -> list[str]:
        """Return what is due for so long that a claim would be over, and that nobody holds.

        Left out is what the record shows as just come back: lost with a function a moment ago, paused, of a type
        that the tick does not know. A row that somebody has locked is theirs.
        """
        deployment = self.installations[life.installation]
        types = [type_ for type_ in ENDS if type_ != "newer" or life.modules == NEW]
        with psycopg.connect(deployment.database_url, connect_timeout=2) as sql:
            # As the record's own functions do: statistics lag behind a queue.
            sql.execute("set local statement_timeout = 2000; set local enable_seqscan = off; set local jit = off")
            sql.execute("set local enable_hashjoin = off; set local enable_mergejoin = off")
            found = sql.execute(
                """select o.id::text, o.type, o.priority from sweephand.open o
                where o.type = any (%(types)s) and o.run_at < now() - %(age)s * interval '1 s'
                  and (o.expires_at > now() or o.expires_at is null)
                  and not exists (select from sweephand.leases l where l.id = o.id)
                  and not exists (select from sweephand.paused p where p.type = o.type)
                  and not exists (select from sweephand.errors r
                                  where r.id = o.id and r.at > now() - %(age)s * interval '1 s')
                order by o.run_at limit 20000""",
                {"types": types, "age": self.hold + SLACK},
            ).fetchall()
            held = self._held(deployment.name, found) if found else set()
            left = [job for job, _, _ in found if job not in held and job not in self.touched]
            # Last, as what they began may have ended: those that somebody has locked, or started by now.
            free = sql.execute(
                """select o.id::text from sweephand.open o where o.id = any (%s::uuid[])
                  and not exists (select from sweephand.leases l where l.id = o.id)
                for update of o skip locked""",
                (left[:: max(1, len(left) // SAMPLE)],),
            ).fetchall()
            sql.rollback()
        return [job for (job,) in free]

    def _held(self, installation: str, jobs: Iterable[tuple[str, str, int]]) -> set[str]:
        """Return which of these jobs a claim holds: the index says to look again, within a hold."""
        lanes: dict[str, list[str]] = {}
        for job, type_, priority in jobs:
            lanes.setdefault(f"sweephand:{{{installation}}}:due:{type_}:{priority}", []).append(job)
        held = set()
        with self.index() as client:
            now = time.time() * 1000  # the index runs on this machine
            for key, ids in lanes.items():
                if client.type(key) != b"zset":
                    continue
                scores = client.zmscore(key, ids)
                latest = now + (self.hold + OWN) * 1000
                held |= {job for job, score in zip(ids, scores, strict=True) if score and now < score <= latest}
        return held

    def misled(self, lives: Sequence[Life]) -> list[Left]:
        """Return what was left, but for where another tick was just handing back what it had."""
        return [
            left
            for left in self.left
            if not any(
                life.released
                and life.installation == left.life.installation
                and left.life.ended - 1.5 <= life.ended <= left.life.ended + 6
                for life in lives
            )
        ]
