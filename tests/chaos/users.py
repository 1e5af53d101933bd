"""A user of the database, with jobs of their own: what they insert, touch and delete, and what came of it."""

import json
import random
import uuid
from collections.abc import Iterable, Sequence

import psycopg

from tests.chaos.load import SQL, Asked

CONFIRMED = 5
"""Seconds after which nobody asks again for a job that was confirmed: what is deleted is not made a second time."""


class User:
    """Writes to the record past every proxy, and notes in `asked` what is to be expected of each job."""

    def __init__(self, database_url: str, asked: Asked, rng: random.Random) -> None:
        self.database_url, self.asked, self.rng = database_url, asked, rng
        self._lives = 1000

    def insert(  # noqa: PLR0913 - a job has as many sides
        self, type_: str, count: int, *, wait: float = 0, spread: float = 0, priority: int = 0, pause: float = 0
    ) -> list[str]:
        """Insert jobs that are due in `wait` to `wait + spread` seconds; return their ids."""
        ids = [self._id() for _ in range(count)]
        payloads = [json.dumps({"n": self.rng.randrange(100), "pause": pause}) for _ in ids]
        waits = [wait + self.rng.uniform(0, spread) for _ in ids]
        columns = (ids, [type_] * count, payloads, [priority] * count, [3] * count, waits, [None] * count)
        with psycopg.connect(self.database_url) as sql:
            sql.execute(SQL, columns)
        self.asked.accepted += ids
        return ids

    def choose(self, count: int, own: Iterable[str] = ()) -> list[str]:
        """Return jobs to touch, each once in a run: `own` and some that are running or due; note that they are."""
        with psycopg.connect(self.database_url) as sql:
            found = sql.execute(
                """select o.id::text from sweephand.open o left join sweephand.leases l using (id)
                where o.run_at <= now() and o.created_at < now() - %s * interval '1 s'
                order by l.id is null, random() limit 1000""",
                (CONFIRMED,),
            ).fetchall()
        confirmed = set(self.asked.accepted)
        free = [job for (job,) in found if job in confirmed and job not in self.asked.touched]
        chosen = [*own, *free[:count]]
        self.asked.touched.update(chosen)
        return chosen

    def delete(self, sql: "psycopg.Connection", jobs: Sequence[str]) -> None:
        """Delete these jobs in one statement."""
        sql.execute("delete from sweephand.jobs where id = any (%s::uuid[])", (list(jobs),))

    def cancel(self, sql: "psycopg.Connection", jobs: Sequence[str]) -> list[str]:
        """Cancel these jobs; return those that are cancelled if this transaction is."""
        answers = sql.execute(
            """select id::text, (public.sweephand_cancel_v1(id) ->> 'cancelled')::boolean
            from unnest(%s::uuid[]) id""",
            (list(jobs),),
        ).fetchall()
        return [job for job, cancelled in answers if cancelled]

    def reuse(self, sql: "psycopg.Connection", jobs: Sequence[str]) -> dict[str, int]:
        """Delete these jobs and insert others under their ids; return by which `n` each is known."""
        self.delete(sql, jobs)
        lives = {job: self._life() for job in jobs}
        payloads = [json.dumps({"n": n}) for n in lives.values()]
        count = len(jobs)
        sql.execute(
            SQL, (list(jobs), ["quick"] * count, payloads, [0] * count, [3] * count, [0.0] * count, [None] * count)
        )
        return lives

    def _life(self) -> int:
        self._lives += 1
        return self._lives

    def _id(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
