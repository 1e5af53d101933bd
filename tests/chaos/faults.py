"""Every fault that a chaos run inflicts beside those that its ticks and its handlers carry in themselves.

A fault breaks something, lets the world go on for a while, and mends it.
"""

import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import ClassVar

import psycopg

from tests.chaos.proxy import http_error, redis_error
from tests.chaos.witness import Part
from tests.chaos.world import World

Say = Callable[[str], None]


class Fault:
    """Breaks one thing for `seconds`; the docstring says what."""

    seconds: ClassVar[float] = 4
    part: ClassVar[Part]
    needs: ClassVar[str] = ""
    """The one transport or index that it concerns, where it does not concern all."""

    def inflict(self, world: World) -> None:
        """Break, wait, mend."""
        self.begin(world)
        try:
            world.wait(self.seconds)
        finally:
            self.end(world)

    def begin(self, world: World) -> None:
        """Break it."""
        raise NotImplementedError

    def end(self, world: World) -> None:
        """Mend it."""


class KillTick(Fault):
    """A tick is killed (SIGKILL) at a random moment."""

    part = Part.TICK
    seconds = 1

    def begin(self, world: World) -> None:
        world.fleet.strike(signal.SIGKILL)


class TerminateTick(Fault):
    """A tick is told to end (SIGTERM) at a random moment."""

    part = Part.TICK
    seconds = 1

    def begin(self, world: World) -> None:
        world.fleet.strike(signal.SIGTERM)


class FreezeTick(Fault):
    """A tick is frozen (SIGSTOP) past its leases and goes on (SIGCONT)."""

    part = Part.TICK
    seconds = 1

    def begin(self, world: World) -> None:
        world.fleet.strike(signal.SIGSTOP)


class EightTicks(Fault):
    """Eight ticks at once."""

    part = Part.TICK
    seconds = 10

    def begin(self, world: World) -> None:
        world.fleet.size = 8

    def end(self, world: World) -> None:
        world.fleet.size = world.fleet.pace.size


class NoTickForAnHour(Fault):
    """No tick for an hour: everything that waits is an hour older when the next one comes."""

    part = Part.SCHEDULE
    seconds = 0

    def begin(self, world: World) -> None:
        world.fleet.stop()
        world.sql("update sweephand.open set run_at = run_at - interval '1 h' where run_at <= now()")
        world.sql(
            "update sweephand.leases set started_at = started_at - interval '1 h', until = until - interval '1 h'"
        )


class ClocksFast(Fault):
    """New ticks' own clocks are an hour fast."""

    part = Part.SCHEDULE
    seconds = 8
    hours: ClassVar[float] = 1

    def begin(self, world: World) -> None:
        world.fleet.skew = 3600 * self.hours

    def end(self, world: World) -> None:
        world.fleet.skew = 0


class ClocksSlow(ClocksFast):
    """New ticks' own clocks are an hour slow."""

    hours = -1


class IndexFlushed(Fault):
    """Redis: FLUSHALL."""

    part = Part.INDEX
    seconds = 1

    def begin(self, world: World) -> None:
        world.flush_index()


class IndexKilled(Fault):
    """Redis: killed and restarted with what it had."""

    part = Part.INDEX
    needs = "single"
    seconds = 1

    def begin(self, world: World) -> None:
        world.restart_index()


class IndexRestartedEmpty(Fault):
    """Redis: shut down for a while and restarted empty."""

    part = Part.INDEX
    needs = "single"

    def begin(self, world: World) -> None:
        world.valkey.stop()

    def end(self, world: World) -> None:
        shutil.rmtree(world.valkey.folder)
        world.valkey.start()


class IndexFromOldSnapshot(Fault):
    """Redis: restarted from an old snapshot, with entries long done and without those added since."""

    part = Part.INDEX
    needs = "single"
    seconds = 8

    def begin(self, world: World) -> None:
        self._copy: Path = world.copy_index()

    def end(self, world: World) -> None:
        world.restart_index(self._copy)


class IndexEvicts(Fault):
    """Redis: out of memory, evicting keys (allkeys-random)."""

    part = Part.INDEX

    def begin(self, world: World) -> None:
        world.configure_redis({"maxmemory-policy": "allkeys-random", "maxmemory": "1mb"})

    def end(self, world: World) -> None:
        world.configure_redis({"maxmemory": "0", "maxmemory-policy": "noeviction"})


class IndexOutOfMemory(Fault):
    """Redis: -OOM to every write."""

    part = Part.INDEX

    def begin(self, world: World) -> None:
        world.configure_redis({"maxmemory": "1"})

    def end(self, world: World) -> None:
        world.configure_redis({"maxmemory": "0"})


class IndexReadOnly(Fault):
    """Redis: -READONLY, as from a replica."""

    part = Part.INDEX
    needs = "single"

    def begin(self, world: World) -> None:
        with world.redis() as client:
            client.replicaof("127.0.0.1", 1)

    def end(self, world: World) -> None:
        with world.redis() as client:
            client.replicaof("NO", "ONE")


class IndexLoading(Fault):
    """Redis: -LOADING to every command."""

    part = Part.INDEX
    needs = "single"

    def begin(self, world: World) -> None:
        world.index_proxy.answer(redis_error(b"LOADING Redis is loading the dataset in memory"))

    def end(self, world: World) -> None:
        world.index_proxy.heal()


class IndexCut(Fault):
    """Redis: every connection cut."""

    part = Part.INDEX
    needs = "single"
    seconds = 1

    def begin(self, world: World) -> None:
        world.index_proxy.cut()


class IndexStalled(Fault):
    """Redis: connections stay, nothing comes back."""

    part = Part.INDEX
    needs = "single"
    seconds = 6

    def begin(self, world: World) -> None:
        world.index_proxy.stall()

    def end(self, world: World) -> None:
        world.index_proxy.heal()


class IndexAnswersLost(Fault):
    """Redis: commands are carried out, and the connection cut in place of the answer."""

    part = Part.INDEX
    needs = "single"

    def begin(self, world: World) -> None:
        world.index_proxy.swallow(b"EVAL")

    def end(self, world: World) -> None:
        world.index_proxy.heal()


class IndexFailsOver(Fault):
    """Redis: failover to an empty replica, while old connections reach the old primary, now read-only."""

    part = Part.INDEX
    needs = "single"
    seconds = 6

    def begin(self, world: World) -> None:
        world.fail_over()

    def end(self, world: World) -> None:
        world.index_proxy.cut()
        world.end_fail_over()


class SlotMoves(Fault):
    """The cluster: the slot of all our keys moves to another node, in two halves."""

    part = Part.INDEX
    needs = "cluster"
    seconds = 3

    def begin(self, world: World) -> None:
        tag, cluster = world.installation, world.whole_cluster
        self._target = (cluster.owner(tag) + world.rng.choice((1, 2))) % len(cluster.nodes)
        cluster.begin_move(tag, self._target)

    def end(self, world: World) -> None:
        world.whole_cluster.end_move(world.installation, self._target)


class NodeHangs(Fault):
    """The cluster: the node that holds our keys, or the one that REDIS_URL names, hangs."""

    part = Part.INDEX
    needs = "cluster"
    seconds = 8

    def begin(self, world: World) -> None:
        cluster = world.whole_cluster
        cluster.freeze([world.rng.choice((cluster.owner(world.installation), 0))])

    def end(self, world: World) -> None:
        world.whole_cluster.thaw()
        world.whole_cluster.wait_until_whole()


class NodesHang(NodeHangs):
    """The cluster: every node hangs."""

    def begin(self, world: World) -> None:
        world.whole_cluster.freeze(list(range(len(world.whole_cluster.nodes))))


class NoNode(Fault):
    """The cluster: no node can be reached, as all were killed; they start again with what they had."""

    part = Part.INDEX
    needs = "cluster"

    def begin(self, world: World) -> None:
        world.whole_cluster.kill()

    def end(self, world: World) -> None:
        world.whole_cluster.start()


class DatabaseKilled(Fault):
    """PostgreSQL: killed with all its sessions and restarted."""

    part = Part.RECORD
    seconds = 1

    def begin(self, world: World) -> None:
        world.stack.postgres.kill()

    def end(self, world: World) -> None:
        world.stack.postgres.start()


class RestRestarted(Fault):
    """PostgREST: stopped for a moment and started again."""

    part = Part.RECORD
    needs = "rest"
    seconds = 2

    def begin(self, world: World) -> None:
        world.stack.postgrest.stop()

    def end(self, world: World) -> None:
        world.stack.postgrest.start()


class RestSays503(Fault):
    """Supabase: 503 to every call."""

    part = Part.RECORD
    needs = "rest"

    def begin(self, world: World) -> None:
        world.record_proxy.answer(http_error(503, b'{"message": "upstream connect error"}'))

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class RestSaysHtml(Fault):
    """Supabase: a proxy's HTML page, status 522, to every call."""

    part = Part.RECORD
    needs = "rest"

    def begin(self, world: World) -> None:
        world.record_proxy.answer(http_error(522, b"<html>Connection timed out</html>", "text/html"))

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class RestAway(Fault):
    """Supabase: away for 30 s, connections refused."""

    part = Part.RECORD
    seconds = 30

    def begin(self, world: World) -> None:
        world.record_proxy.refuse()

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class RestStalled(Fault):
    """Supabase: 20 s of silence, longer than an answer is waited for; then all that was held goes through."""

    part = Part.RECORD
    seconds = 20

    def begin(self, world: World) -> None:
        world.record_proxy.stall()

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class StatementsTimeOut(Fault):
    """PostgreSQL: a table is locked for longer than a statement may take (8 s)."""

    part = Part.RECORD
    seconds = 12

    def inflict(self, world: World) -> None:
        with psycopg.connect(world.stack.database_url) as connection:
            connection.execute("lock table sweephand.open in access exclusive mode")
            world.wait(self.seconds)


class AnswersLost(Fault):
    """Supabase: calls are carried out, and the connection cut in place of the answer."""

    part = Part.RECORD

    def begin(self, world: World) -> None:
        world.record_proxy.swallow(rb"sweephand_(start|settle|restore|create|cancel)")

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class CommitsLost(Fault):
    """PostgreSQL: the connection is cut after COMMIT and before its answer."""

    part = Part.RECORD
    needs = "rest"
    seconds = 3

    def begin(self, world: World) -> None:
        world.database_proxy.swallow(rb"(?i)commit")

    def end(self, world: World) -> None:
        world.database_proxy.heal()


class DatabaseCut(Fault):
    """PostgreSQL: every session of PostgREST's, or of the functions' own, ended."""

    part = Part.RECORD
    seconds = 1

    def begin(self, world: World) -> None:
        whose = "application_name = 'sweephand'" if world.transport == "direct" else "usename = 'authenticator'"
        world.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where {whose}", superuser=True)


class ApiAnswersLost(Fault):
    """The API: the answer to a create or a cancel is lost; the client asks again with its Idempotency-Key."""

    part = Part.API

    def begin(self, world: World) -> None:
        world.api_proxy.swallow(rb"POST|PUT")

    def end(self, world: World) -> None:
        world.api_proxy.heal()


class TypePaused(Fault):
    """An operator pauses a type and resumes it."""

    part = Part.SCHEDULE

    def begin(self, world: World) -> None:
        world.sql("insert into sweephand.paused (type) values ('quick') on conflict do nothing")

    def end(self, world: World) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(psycopg.Error):
                world.sql("delete from sweephand.paused")
                return
            time.sleep(0.2)


class _Transaction(Fault):
    """A user's transaction, held open for some seconds: one that is rolled back, and one that is committed."""

    part = Part.NEIGHBOUR
    seconds = 5
    """How long the jobs take that it holds; it is held for 3 to 12."""

    def inflict(self, world: World) -> None:
        commits = [False, True]
        world.user.rng.shuffle(commits)
        for commit in commits:
            jobs = self.chosen(world)
            self._hold(world, jobs, world.user.rng.uniform(3, 12), commit=commit)

    def chosen(self, world: World) -> list[str]:
        """Return jobs that run just now, or are due."""
        own = world.user.insert("dawdle", 20, pause=2 * max(world.scale, 0.25))
        world.wait_exactly(0.3 + world.scale)  # some of them run now
        return world.user.choose(10, own)

    def act(self, world: World, sql: "psycopg.Connection", jobs: list[str]) -> Callable[[], None]:
        """Touch these jobs; return what notes it once it is committed."""
        raise NotImplementedError

    def _hold(self, world: World, jobs: list[str], seconds: float, *, commit: bool) -> None:
        how = world.asked.transactions
        with psycopg.connect(world.stack.database_url) as sql:
            try:
                note = world.beside(lambda: self.act(world, sql, jobs))
            except psycopg.Error as e:
                how[f"refused: {type(e).__name__}"] += 1
                sql.rollback()
                return
            world.wait(seconds)
            if commit:
                world.beside(sql.commit)
                note()
            else:
                sql.rollback()
            how["committed" if commit else "rolled back"] += 1


class UserDeletes(_Transaction):
    """A user deletes jobs that run or are due, and holds the transaction open."""

    def act(self, world: World, sql: "psycopg.Connection", jobs: list[str]) -> Callable[[], None]:
        world.user.delete(sql, jobs)
        return lambda: world.asked.deleted.update(jobs)


class UserCancels(_Transaction):
    """A user cancels jobs that run or are due, and holds the transaction open."""

    def act(self, world: World, sql: "psycopg.Connection", jobs: list[str]) -> Callable[[], None]:
        cancelled = world.user.cancel(sql, jobs)
        return lambda: world.asked.cancelled.update(dict.fromkeys(cancelled, time.time()))


class UserReusesIds(_Transaction):
    """A user deletes jobs that run or are due, inserts others under their ids, and holds the transaction open."""

    def act(self, world: World, sql: "psycopg.Connection", jobs: list[str]) -> Callable[[], None]:
        lives = world.user.reuse(sql, jobs)
        return lambda: world.asked.lives.update(lives)


class UserDeletesThousands(UserDeletes):
    """A user deletes thousands of jobs in one statement while ticks run them, and holds the transaction open."""

    def inflict(self, world: World) -> None:
        for _ in range(max(2, round(8 * world.scale))):  # and hundreds at once, again and again
            jobs = self._own(world, max(50, round(600 * world.scale)))
            world.wait_exactly(0.2)
            self._hold(world, jobs, 0, commit=True)
        super().inflict(world)

    def chosen(self, world: World) -> list[str]:
        half = max(150, round(2500 * world.scale))
        own = self._own(world, half) + self._own(world, half, wait=30 * world.scale)
        world.wait_exactly(0.5)
        return own

    def _own(self, world: World, count: int, wait: float = 0) -> list[str]:
        jobs = world.user.insert("brief", count, wait=wait)
        world.asked.touched.update(jobs)
        return jobs


class OldBacklog(Fault):
    """Thousands have been due for longer than a claim is held, Redis is empty, and ticks come at once."""

    part = Part.NEIGHBOUR
    seconds = 10

    def begin(self, world: World) -> None:
        world.fleet.stop()
        world.fleet.size = 0
        world.user.insert("brief", max(200, round(10_000 * world.scale)))
        world.wait(17)
        world.flush_index()
        world.fleet.size = world.fleet.pace.size


class SlowBacklog(Fault):
    """A backlog of one slow type, beside jobs of an instant one: by SQL, of the future, and flushed from Redis."""

    part = Part.NEIGHBOUR
    seconds = 60

    def begin(self, world: World) -> None:
        user, scale = world.user, world.scale
        user.insert("brief", 30, wait=15 * scale, spread=25 * scale)
        world.wait(4)  # a tick puts them into the index
        self._slow = user.insert("grind", max(200, round(3000 * scale)), priority=5, pause=1.2 * scale)
        world.asked.touched.update(self._slow)
        user.insert("brief", 30, wait=10 * scale, spread=30 * scale)
        world.flush_index()

    def inflict(self, world: World) -> None:
        self.begin(world)
        for _ in range(10):
            world.user.insert("brief", 5)
            world.user.insert("thread", 5)
            world.wait(self.seconds / 10)
        self.end(world)

    def end(self, world: World) -> None:
        """Delete what is left of the backlog: with it or without it, nothing else is to wait for so long."""
        for _ in range(10):
            with suppress(psycopg.errors.DeadlockDetected), psycopg.connect(world.stack.database_url) as sql:
                world.user.delete(sql, self._slow)
                break
            world.asked.transactions["refused: DeadlockDetected"] += 1
        world.asked.deleted.update(self._slow)


class ForeignIndexContent(Fault):
    """Redis: foreign members and scores among ours, unknown ids, and keys of ours that hold something else."""

    part = Part.NEIGHBOUR
    seconds = 25

    def begin(self, world: World) -> None:
        now = time.time() * 1000
        scores = (-inf, inf, 0, now - 1e6, now, now + 3e5, 1e15)
        foreign = {f"no uuid {n}": score for n, score in enumerate(scores)}
        foreign |= {str(uuid.uuid4()): score for score in scores}
        foreign |= {"": now, "\udcff\x00": now, "{x}": -inf, "quick": -inf}
        with world.index() as client:
            for key in (self._due(world, "quick", 0), self._due(world, "brief", 0), *self._lanes(world)):
                if client.type(key) in (b"zset", b"none"):
                    ours = client.zrange(key, 0, 2)
                    client.zadd(key, {m.encode(errors="surrogateescape"): score for m, score in foreign.items()})
                    client.zadd(key, dict.fromkeys(ours, -inf) or {"ours": 0}, xx=True)
            for key in self._strange(world):
                client.set(key, "no set")

    def end(self, world: World) -> None:
        """Take away what holds something else; foreign members are for the ticks to remove."""
        with world.index() as client:
            for key in self._strange(world):
                if client.type(key) == b"string":
                    client.delete(key)

    def _strange(self, world: World) -> list[str]:
        return [self._due(world, "quick", 5), self._due(world, "flaky", 0), self._lanes(world)[5]]

    def _due(self, world: World, type_: str, priority: int) -> str:
        return f"sweephand:{{{world.installation}}}:due:{type_}:{priority}"

    def _lanes(self, world: World) -> list[str]:
        return [f"sweephand:{{{world.installation}}}:lanes:{priority}" for priority in range(10)]


def _kinds(base: type[Fault]) -> Iterator[type[Fault]]:
    for kind in base.__subclasses__():
        if not kind.__name__.startswith("_"):  # what others have in common
            yield kind
        yield from _kinds(kind)


ALL = tuple(_kinds(Fault))


def suitable(transport: str, index: str) -> tuple[type[Fault], ...]:
    """Return the faults that such a run can have."""
    return tuple(kind for kind in ALL if kind.needs in ("", transport, index))
