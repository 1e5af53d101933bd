"""The record's SQL and the index's Lua against a model of what was promised, in any order of steps.

The steps are those of creates, cancels and ticks, each a single call, so that a crash may come between any two. No
step sleeps: a lease lapses, a wait ends and a hold runs out by SQL and by Redis commands.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from infra.local.services.services import Services
from sweephand.adapters import direct as direct_rpc
from sweephand.adapters.redis import RedisServer
from sweephand.domain.attempt import Claim, Failed, GaveUp
from sweephand.domain.job import MAX_CRASHES, Idempotency, NewJob
from sweephand.domain.retry_policy import Complete, Decision, Fail, Release, RetryAfter, decide
from sweephand.ports.index import ClaimOptions, ClaimQuota, Index, IndexUpdates, Lane
from sweephand.ports.record import CreateOutcome, Record, Settlement, Start, Verdict
from tests.conftest import empty_record
from tests.domain.attempts import attempt

TYPES = ("one", "two")
LANES = [Lane(type_, priority) for type_ in TYPES for priority in (0, 9)]
LEASES = dict.fromkeys(TYPES, 60_000)
HORIZON_MS = 300_000
FAR = 10**9


@dataclass
class Job:
    """What the model knows of a job."""

    max_retries: int
    due: bool
    status: str = "pending"
    attempt: int = 0
    crashes: int = 0
    lost: int = 0
    """Starts that were lost without their entry having been noted."""
    noted: bool = False
    """Whether the record has been told that the handler of its lease was entered."""
    lapsed: bool = False
    """Whether its lease has expired, and no page has found it yet."""
    entries: list[int] = field(default_factory=list)
    token: str = ""
    """Of the lease, while it is in progress."""
    settled: str = ""
    """The token of the start that was settled last."""


@dataclass
class Tick:
    """What one tick holds in its memory."""

    claims: dict[str, Claim] = field(default_factory=dict)
    starts: dict[str, Start] = field(default_factory=dict)
    moves: IndexUpdates = field(default_factory=IndexUpdates)


class Machine(RuleBasedStateMachine):
    """Two ticks, any number of clients, one record, one index."""

    stack: Services
    record: Record
    index: Index
    sql: psycopg.Connection
    redis: "redis.Redis"

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        """Start with nothing."""
        empty_record(self.stack.superuser_url)
        self.redis.flushall()
        self.random = Random(seed)
        self.jobs: dict[str, Job] = {}
        self.keys: dict[str, str] = {}
        self.ticks = [Tick(), Tick()]
        self.installation = ""
        self.old: list[Settlement] = []

    # ------------------------------------------------------------------ clients

    @rule(count=st.integers(1, 3), retries=st.integers(0, 2), priority=st.sampled_from((0, 9)), due=st.booleans(),
          indexed=st.booleans())  # fmt: skip
    def create(self, count: int, retries: int, priority: int, *, due: bool, indexed: bool) -> None:
        """Jobs come in; the index hears of it or not."""
        made = [
            NewJob(
                uuid.UUID(int=self.random.getrandbits(128), version=4),
                self.random.choice(TYPES),
                {},
                priority,
                retries,
            )
            for _ in range(count)
        ]
        created = self.record.create(made)
        self.installation = created.installation
        for new in made:
            self.jobs[str(new.id)] = Job(retries, due)
        if not due:
            self.sql.execute(
                "update sweephand.open set run_at = now() + interval '1 min' where id = any(%s)",
                ([new.id for new in made],),
            )
        if indexed:
            page = self.record.restore(TYPES, HORIZON_MS, 1000)
            self._note_page(page.rescued)
            self.index.sync_and_claim(
                self.installation, IndexUpdates(add=[d for d in page.jobs if d.id in {str(n.id) for n in made}])
            )

    @rule(key=st.sampled_from(("a", "b")), body=st.sampled_from(("x", "y")))
    def create_under_a_key(self, key: str, body: str) -> None:
        """The same key and request make one job, however often; another request is told apart."""
        new = NewJob(uuid.UUID(int=self.random.getrandbits(128), version=4), "one", {})
        created = self.record.create([new], Idempotency("caller", key, body))
        if key not in self.keys:
            assert created.outcome is CreateOutcome.CREATED
            self.keys[key] = f"{body} {new.id}"
            self.jobs[str(new.id)] = Job(3, due=True)
        elif self.keys[key].startswith(body):
            assert created.outcome is CreateOutcome.REPLAYED
            assert created.jobs[0]["id"] == self.keys[key].split()[1]
        else:
            assert created.outcome is CreateOutcome.MISMATCH

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A cancel wins exactly over a pending job."""
        self._cancel(data.draw(st.sampled_from(sorted(self.jobs))))

    @precondition(lambda self: self._not_pending())
    @rule(data=st.data())
    def cancel_too_late(self, data: st.DataObject) -> None:
        """What runs or has ended cannot be cancelled, and goes on undisturbed."""
        self._cancel(data.draw(st.sampled_from(self._not_pending())))

    def _not_pending(self) -> list[str]:
        return sorted(id_ for id_, job in self.jobs.items() if job.status != "pending")

    def _cancel(self, id_: str) -> None:
        job = self.jobs[id_]
        answer = self.record.cancel(uuid.UUID(id_))
        assert answer is not None
        assert answer.cancelled == (job.status in ("pending", "cancelled"))
        if job.status == "pending":
            job.status = "cancelled"

    # ------------------------------------------------------------------ the steps of a tick

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def another_life(self, data: st.DataObject) -> None:
        """A user deletes a job and inserts another under its id, in one transaction."""
        id_ = data.draw(st.sampled_from(sorted(self.jobs)))
        with self.sql.transaction():
            self.sql.execute("delete from sweephand.jobs where id = %s", (id_,))
            self.sql.execute("insert into sweephand.jobs (id, type) values (%s, 'one')", (id_,))
        self.jobs[id_] = Job(3, due=True)

    @rule(which=st.integers(0, 1), tell=st.booleans())
    def look(self, which: int, *, tell: bool = False) -> None:
        """A tick reads a page: it shows every job that is pending, and ends every lease that has expired.

        It may tell what it has entered.
        """
        entered: dict[str, list[str]] = {}
        for id_, start in self.ticks[which].starts.items() if tell else ():
            entered.setdefault(start.token, []).append(id_)
            self.jobs[id_].noted = self.jobs[id_].noted or self.jobs[id_].token == start.token
        page = self.record.restore(TYPES, HORIZON_MS, 1000, entered=entered)
        self.installation = page.installation
        self._note_page(page.rescued)
        shown = {due.id: due.wait_ms <= 0 for due in page.jobs}
        assert shown == {id_: job.due for id_, job in self.jobs.items() if job.status == "pending"}
        self.ticks[which].moves.add.extend(page.jobs)

    @precondition(lambda self: self.installation)
    @rule(which=st.integers(0, 1), room=st.sampled_from((1, 5, 100)))
    def claim(self, which: int, room: int) -> None:
        """A tick makes its moves and claims; nobody else holds what it gets."""
        tick = self.ticks[which]
        moves, tick.moves = tick.moves, IndexUpdates()
        step = self.index.sync_and_claim(self.installation, moves, [ClaimQuota(LANES, room)], ClaimOptions(FAR))
        assert len(step.claims) <= room
        for claim in step.claims:
            tick.claims[claim.id] = claim

    @precondition(lambda self: any(tick.claims for tick in self.ticks))
    @rule(which=st.integers(0, 1), exclusive=st.booleans(), twice=st.booleans())
    def start(self, which: int, *, exclusive: bool, twice: bool) -> None:
        """A tick starts what it claimed; asked again with the same token it hears the same."""
        tick = self.ticks[which]
        if not tick.claims:
            return
        ids = list(tick.claims)[:1] if exclusive else list(tick.claims)
        token = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        started = self.record.start(ids, token, LEASES, exclusive=exclusive, max_bytes=10**7)
        if twice:
            again = self.record.start(ids, token, LEASES, exclusive=exclusive, max_bytes=10**7)
            assert [s.id for s in again.starts] == [s.id for s in started.starts]
        begun = {s.id: s for s in started.starts}
        for id_ in ids:
            claim, job = tick.claims.pop(id_), self.jobs[id_]
            may = job.status == "pending" and job.due and (exclusive or job.crashes < 2)
            assert (id_ in begun) == may, (id_, job, started.others.get(id_))
            if may:
                start = begun[id_]
                assert (start.attempt, start.crashes, start.lost) == (job.attempt + 1, job.crashes, job.lost)
                job.noted = False
                job.status, job.token = "in_progress", token
                tick.starts[id_] = start
                tick.moves.remove.append(claim)
            else:
                self._follow(tick, claim, job, *started.others[id_])

    def _follow(self, tick: Tick, claim: Claim, job: Job, verdict: Verdict, wait_ms: int | None) -> None:
        match verdict:
            case Verdict.FINAL:
                assert job.status in ("completed", "failed", "cancelled")
                tick.moves.remove.append(claim)
            case Verdict.LEASED:
                assert job.status == "in_progress"
                tick.moves.postpone.append((claim, wait_ms or 0))
            case Verdict.EARLY:
                assert (job.status, job.due) == ("pending", False)
                tick.moves.postpone.append((claim, wait_ms or 0))
            case Verdict.EXCLUSIVE:
                assert job.crashes > 1
                tick.moves.release.append(claim)
            case _:
                raise AssertionError(verdict)

    @precondition(lambda self: any(tick.starts for tick in self.ticks))
    @rule(which=st.integers(0, 1), how=st.sampled_from(("return", "raise", "give up", "unentered")),
          delay=st.sampled_from((0.0, 60.0)), keep=st.booleans())  # fmt: skip
    def run(self, which: int, how: str, delay: float, *, keep: bool) -> None:
        """A tick enters a job and settles it: it counts exactly if the lease is still that start's."""
        tick = self.ticks[which]
        if not tick.starts:
            return
        id_ = next(iter(tick.starts))
        start, job = tick.starts.pop(id_), self.jobs[id_]
        if how != "unentered" and job.token == start.token:
            assert start.attempt not in job.entries
            job.entries.append(start.attempt)
        decision = self._decide(start, how, delay)
        [settled] = self.record.settle([Settlement(id_, start.token, decision)])
        ours = job.status == "in_progress" and job.token == start.token
        assert settled.lost == (not ours and job.settled != start.token)
        if keep and not isinstance(decision, Release):
            self.old.append(Settlement(id_, start.token, decision))
        if ours:
            self._settle(job, start, decision)
            if settled.wait_ms is not None and job.status == "pending":
                tick.moves.requeue.extend(
                    d for d in self.record.restore(TYPES, HORIZON_MS, 1000).jobs if d.id == id_
                )
                self._note_page(None)

    def _decide(self, start: Start, how: str, delay: float) -> Decision:
        begun = attempt(start.attempt, start.crashes, start.max_retries, start.lost)
        match how:
            case "return":
                return Complete({"attempt": start.attempt})
            case "give up":
                return decide(begun, GaveUp("no use"), jitter=0, now=0)
            case "unentered":
                return Release()
        decision = decide(begun, Failed("boom"), jitter=0, now=0)
        return RetryAfter(delay, "raised", "boom") if isinstance(decision, RetryAfter) else decision

    def _settle(self, job: Job, start: Start, decision: Decision) -> None:
        job.lapsed, job.token = False, ""
        match decision:
            case Complete():
                job.status = "completed"
            case Fail():
                job.status = "failed"
            case RetryAfter(delay, _, _):
                job.status, job.due = "pending", delay == 0
            case Release():
                job.status = "pending"
                return
        job.attempt, job.settled = start.attempt, start.token

    @rule(which=st.integers(0, 1), how=st.sampled_from(("return", "raise")))
    def work(self, which: int, how: str) -> None:
        """A tick takes its steps one after the other, without a fault between."""
        self.look(which)
        self.claim(which, 100)
        self.start(which, exclusive=False, twice=False)
        self.run(which, how, 0.0, keep=True)

    @precondition(lambda self: any(tick.starts for tick in self.ticks))
    @rule(which=st.integers(0, 1), how=st.sampled_from(("return", "raise", "unentered")))
    def outlive(self, which: int, how: str) -> None:
        """A tick hangs past its leases, another starts the same jobs; then the first goes on and settles."""
        if not self.ticks[which].starts:
            return
        other = 1 - which
        self._lapse()
        self.look(other)
        self._become_due()
        self.claim(other, 100)
        while self.ticks[other].claims:
            self.start(other, exclusive=True, twice=False)
        self.run(which, how, 0.0, keep=True)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def settle_again(self, data: st.DataObject) -> None:
        """A settlement that comes once more, however late, changes nothing."""
        settlement = data.draw(st.sampled_from(self.old))
        [settled] = self.record.settle([settlement])
        assert settled.lost == (self.jobs[settlement.id].settled != settlement.token)

    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        """A tick is gone, with all that it held in its memory."""
        self.ticks[which] = Tick()

    # ------------------------------------------------------------------ time and loss

    @rule()
    def leases_lapse(self) -> None:
        """Every lease is used up."""
        self._lapse()

    @rule()
    def waits_end(self) -> None:
        """Every job is due, and every hold of the index has run out."""
        self._become_due()

    @rule(flush=st.booleans())
    def index_forgets(self, *, flush: bool) -> None:
        """Redis loses all, or one key."""
        keys = sorted(self.redis.keys("*"))
        if flush or not keys:
            self.redis.flushall()
        else:
            self.redis.delete(keys[0])

    @rule()
    def index_is_stale(self) -> None:
        """Redis has entries of jobs that are long done."""
        if self.installation:
            for id_ in self.jobs:
                self.redis.zadd(f"sweephand:{{{self.installation}}}:due:one:0", {id_: 1}, nx=True)

    def _lapse(self) -> None:
        self.sql.execute(
            "update sweephand.leases set started_at = now() - interval '2 h', until = now() - interval '1 h'"
        )
        for job in self.jobs.values():
            job.lapsed = job.lapsed or job.status == "in_progress"

    def _become_due(self) -> None:
        self.sql.execute("update sweephand.open set run_at = least(run_at, now())")
        for job in self.jobs.values():
            job.due = True
        for key in self.redis.keys("*:due:*"):
            for member in cast("list[bytes]", self.redis.zrange(key, 0, -1)):
                self.redis.zadd(key, {member: 1})
        for key in self.redis.keys("*:lanes:*"):
            for member in cast("list[bytes]", self.redis.zrange(key, 0, -1)):
                self.redis.zadd(key, {member: 1})

    def _note_page(self, lapsed: int | None) -> None:
        gone = [job for job in self.jobs.values() if job.lapsed]
        assert lapsed is None or lapsed == len(gone)
        for job in gone:
            job.lapsed, job.token, job.settled = False, "", ""
            job.attempt += 1
            if job.noted or job.lost >= 2:
                job.crashes += 1
            else:
                job.lost += 1
            job.noted = False
            job.status = "pending" if job.crashes <= MAX_CRASHES else "failed"

    # ------------------------------------------------------------------ what always holds

    @invariant()
    def record_is_as_promised(self) -> None:
        """Every job stands where the model says, within the bounds of promise 5; a terminal one stays."""
        if not hasattr(self, "jobs"):
            return
        rows = self.sql.execute(
            "select id::text, status, attempt, crashes, reason from sweephand.job_state"
        ).fetchall()
        assert {row[0] for row in rows} == set(self.jobs)
        for id_, status, number, crashes, reason in rows:
            job = self.jobs[id_]
            assert (status, crashes) == (job.status, job.crashes), (id_, job)
            assert number == job.attempt + (status == "in_progress")
            assert number <= job.max_retries + 1 + MAX_CRASHES + 2
            assert number - crashes - job.lost <= job.max_retries + 1
            assert (status == "failed") == (reason is not None)
            assert len(set(job.entries)) == len(job.entries)
        history = self.sql.execute("select id::text, count(*) from sweephand.errors group by 1").fetchall()
        for id_, errors in history:
            assert errors == self.jobs[id_].attempt - (self.jobs[id_].status == "completed")

    def teardown(self) -> None:
        """Whatever happened: ticks that work in peace bring every job to its end."""
        if not hasattr(self, "jobs"):
            return
        for _ in range(MAX_CRASHES + 5):
            self._lapse()
            self._become_due()
            self.look(0)
            self.claim(0, 1000)
            for exclusive in (False, True):
                while self.ticks[0].claims:
                    self.start(0, exclusive=exclusive, twice=False)
                    while self.ticks[0].starts:
                        self.run(0, "return", 0, keep=False)
                    if not exclusive:
                        break
                self.claim(0, 1000)
        assert all(job.status in ("completed", "failed", "cancelled") for job in self.jobs.values())
        self.record_is_as_promised()


@pytest.fixture
def machine(clean: Services) -> Iterator[type[Machine]]:
    """Yield the machine on the real services."""
    rpc = direct_rpc.connect(clean.database_url)
    server = RedisServer(clean.valkey.url)

    class Bound(Machine):
        stack = clean
        record = Record(rpc)
        index = Index(server)
        sql = psycopg.connect(clean.database_url, autocommit=True)
        redis = redis.Redis.from_url(clean.valkey.url)

    yield Bound
    Bound.sql.close()
    Bound.redis.close()
    server.close()
    rpc.close()


@pytest.mark.timeout(300)
def test_any_order_of_steps_keeps_every_promise(machine: Any, request: pytest.FixtureRequest) -> None:
    """No order of creates, cancels, steps of two ticks, crashes, flushes and lapses breaks a promise."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
