"""Every fault that a chaos run inflicts beside those that its ticks and its handlers carry in themselves.

A fault breaks something, lets the world go on for a while, and mends it.
"""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import psycopg

from tests.chaos.proxy import http_error, redis_error
from tests.chaos.world import World

Say = Callable[[str], None]


class Part(StrEnum):
    """What a fault takes from everybody while it lasts; a neighbour's doing takes nothing from the others."""

    RECORD = "record"
    INDEX = "index"
    SCHEDULE = "schedule"
    API = "api"
    TICK = "tick"
    NEIGHBOUR = "neighbour"


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
        world.sql("update minutehand.open set run_at = run_at - interval '1 h' where run_at <= now()")
        world.sql(
            "update minutehand.leases set started_at = started_at - interval '1 h', until = until - interval '1 h'"
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
            connection.execute("lock table minutehand.open in access exclusive mode")
            world.wait(self.seconds)


class AnswersLost(Fault):
    """Supabase: calls are carried out, and the connection cut in place of the answer."""

    part = Part.RECORD

    def begin(self, world: World) -> None:
        world.record_proxy.swallow(rb"minutehand_(start|settle|page|create|cancel)")

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
        whose = "application_name = 'minutehand'" if world.transport == "direct" else "usename = 'authenticator'"
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
        world.sql("insert into minutehand.paused (type) values ('quick') on conflict do nothing")

    def end(self, world: World) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(psycopg.Error):
                world.sql("delete from minutehand.paused")
                return
            time.sleep(0.2)


def _kinds(base: type[Fault]) -> Iterator[type[Fault]]:
    for kind in base.__subclasses__():
        if not kind.__name__.startswith("_"):  # what others have in common
            yield kind
        yield from _kinds(kind)


ALL = tuple(_kinds(Fault))


def suitable(transport: str, index: str) -> tuple[type[Fault], ...]:
    """Return the faults that such a run can have."""
    return tuple(kind for kind in ALL if kind.needs in ("", transport, index))
