"""Every fault that a chaos run inflicts beside those that its ticks and its handlers carry in themselves.

A fault breaks something, lets the world go on for a while, and mends it.
"""

import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import psycopg

from tests.chaos.proxy import http_error, redis_error
from tests.chaos.world import World

Say = Callable[[str], None]


class Fault:
    """Breaks one thing for `seconds`; the docstring says what."""

    seconds: ClassVar[float] = 4

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

    seconds = 1

    def begin(self, world: World) -> None:
        world.fleet.strike(signal.SIGKILL)


class TerminateTick(Fault):
    """A tick is told to end (SIGTERM) at a random moment."""

    seconds = 1

    def begin(self, world: World) -> None:
        world.fleet.strike(signal.SIGTERM)


class FreezeTick(Fault):
    """A tick is frozen (SIGSTOP) past its leases and goes on (SIGCONT)."""

    seconds = 1

    def begin(self, world: World) -> None:
        world.fleet.strike(signal.SIGSTOP)


class EightTicks(Fault):
    """Eight ticks at once."""

    seconds = 10

    def begin(self, world: World) -> None:
        world.fleet.size = 8

    def end(self, world: World) -> None:
        world.fleet.size = world.fleet.pace.size


class NoTickForAnHour(Fault):
    """No tick for an hour: everything that waits is an hour older when the next one comes."""

    seconds = 0

    def begin(self, world: World) -> None:
        world.fleet.stop()
        world.sql("update minutehand.open set run_at = run_at - interval '1 h' where run_at <= now()")
        world.sql(
            "update minutehand.leases set started_at = started_at - interval '1 h', until = until - interval '1 h'"
        )


class ClocksFast(Fault):
    """New ticks' own clocks are an hour fast."""

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

    seconds = 1

    def begin(self, world: World) -> None:
        with world.redis() as client:
            client.flushall()


class IndexKilled(Fault):
    """Redis: killed and restarted with what it had."""

    seconds = 1

    def begin(self, world: World) -> None:
        world.restart_index()


class IndexRestartedEmpty(Fault):
    """Redis: shut down for a while and restarted empty."""

    def begin(self, world: World) -> None:
        world.valkey.stop()

    def end(self, world: World) -> None:
        shutil.rmtree(world.valkey.folder)
        world.valkey.start()


class IndexFromOldSnapshot(Fault):
    """Redis: restarted from an old snapshot, with entries long done and without those added since."""

    seconds = 8

    def begin(self, world: World) -> None:
        self._copy: Path = world.copy_index()

    def end(self, world: World) -> None:
        world.restart_index(self._copy)


class IndexEvicts(Fault):
    """Redis: out of memory, evicting keys (allkeys-random)."""

    def begin(self, world: World) -> None:
        world.configure_redis({"maxmemory-policy": "allkeys-random", "maxmemory": "1mb"})

    def end(self, world: World) -> None:
        world.configure_redis({"maxmemory": "0", "maxmemory-policy": "noeviction"})


class IndexOutOfMemory(Fault):
    """Redis: -OOM to every write."""

    def begin(self, world: World) -> None:
        world.configure_redis({"maxmemory": "1"})

    def end(self, world: World) -> None:
        world.configure_redis({"maxmemory": "0"})


class IndexReadOnly(Fault):
    """Redis: -READONLY, as from a replica."""

    def begin(self, world: World) -> None:
        with world.redis() as client:
            client.replicaof("127.0.0.1", 1)

    def end(self, world: World) -> None:
        with world.redis() as client:
            client.replicaof("NO", "ONE")


class IndexLoading(Fault):
    """Redis: -LOADING to every command."""

    def begin(self, world: World) -> None:
        world.index_proxy.answer(redis_error(b"LOADING Redis is loading the dataset in memory"))

    def end(self, world: World) -> None:
        world.index_proxy.heal()


class IndexCut(Fault):
    """Redis: every connection cut."""

    seconds = 1

    def begin(self, world: World) -> None:
        world.index_proxy.cut()


class IndexStalled(Fault):
    """Redis: connections stay, nothing comes back."""

    seconds = 6

    def begin(self, world: World) -> None:
        world.index_proxy.stall()

    def end(self, world: World) -> None:
        world.index_proxy.heal()


class IndexAnswersLost(Fault):
    """Redis: commands are carried out, and the connection cut in place of the answer."""

    def begin(self, world: World) -> None:
        world.index_proxy.swallow(b"EVAL")

    def end(self, world: World) -> None:
        world.index_proxy.heal()


class IndexFailsOver(Fault):
    """Redis: failover to an empty replica, while old connections reach the old primary, now read-only."""

    seconds = 6

    def begin(self, world: World) -> None:
        world.fail_over()

    def end(self, world: World) -> None:
        world.index_proxy.cut()
        world.end_fail_over()


class DatabaseKilled(Fault):
    """PostgreSQL: killed with all its sessions and restarted."""

    seconds = 1

    def begin(self, world: World) -> None:
        world.stack.postgres.kill()

    def end(self, world: World) -> None:
        world.stack.postgres.start()


class RestRestarted(Fault):
    """PostgREST: stopped for a moment and started again."""

    seconds = 2

    def begin(self, world: World) -> None:
        world.stack.postgrest.stop()

    def end(self, world: World) -> None:
        world.stack.postgrest.start()


class RestSays503(Fault):
    """Supabase: 503 to every call."""

    def begin(self, world: World) -> None:
        world.record_proxy.answer(http_error(503, b'{"message": "upstream connect error"}'))

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class RestSaysHtml(Fault):
    """Supabase: a proxy's HTML page, status 522, to every call."""

    def begin(self, world: World) -> None:
        world.record_proxy.answer(http_error(522, b"<html>Connection timed out</html>", "text/html"))

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class RestAway(Fault):
    """Supabase: away for 30 s, connections refused."""

    seconds = 30

    def begin(self, world: World) -> None:
        world.record_proxy.refuse()

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class RestStalled(Fault):
    """Supabase: 20 s of silence, longer than an answer is waited for; then all that was held goes through."""

    seconds = 20

    def begin(self, world: World) -> None:
        world.record_proxy.stall()

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class StatementsTimeOut(Fault):
    """PostgreSQL: a table is locked for longer than a statement may take (8 s)."""

    seconds = 12

    def inflict(self, world: World) -> None:
        with psycopg.connect(world.stack.database_url) as connection:
            connection.execute("lock table minutehand.open in access exclusive mode")
            world.wait(self.seconds)


class AnswersLost(Fault):
    """Supabase: calls are carried out, and the connection cut in place of the answer."""

    def begin(self, world: World) -> None:
        world.record_proxy.swallow(rb"minutehand_(start|settle|page|create|cancel)")

    def end(self, world: World) -> None:
        world.record_proxy.heal()


class CommitsLost(Fault):
    """PostgreSQL: the connection is cut after COMMIT and before its answer."""

    seconds = 3

    def begin(self, world: World) -> None:
        world.database_proxy.swallow(rb"(?i)commit")

    def end(self, world: World) -> None:
        world.database_proxy.heal()


class DatabaseCut(Fault):
    """PostgreSQL: every session of PostgREST's ended."""

    seconds = 1

    def begin(self, world: World) -> None:
        world.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'authenticator'", superuser=True
        )


class ApiAnswersLost(Fault):
    """The API: the answer to a create or a cancel is lost; the client asks again with its Idempotency-Key."""

    def begin(self, world: World) -> None:
        world.api_proxy.swallow(rb"POST|PUT")

    def end(self, world: World) -> None:
        world.api_proxy.heal()


class TypePaused(Fault):
    """An operator pauses a type and resumes it."""

    def begin(self, world: World) -> None:
        world.sql("insert into minutehand.paused (type) values ('quick') on conflict do nothing")

    def end(self, world: World) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with suppress(psycopg.Error):
                world.sql("delete from minutehand.paused")
                return
            time.sleep(0.2)


ALL: tuple[type[Fault], ...] = (*Fault.__subclasses__(), ClocksSlow)
