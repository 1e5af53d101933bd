"""What a tick left behind that said `drained` is seen, and what was not for it to start is not."""

import time

import psycopg
import pytest
import redis

from tests.chaos.fleet import NEW, Life
from tests.chaos.witness import Deployment as Installation
from tests.chaos.witness import Part, Witness
from tests.tick.conftest import Deployment

HOLD = 10.0


@pytest.fixture
def witness(deployment: Deployment) -> Witness:
    """Return a witness of the deployment."""
    return Witness(
        [Installation(installation(deployment), deployment.stack.database_url)],
        HOLD,
        lambda: redis.Redis.from_url(deployment.stack.valkey.url),
        set(),
    )


@pytest.fixture
def job(deployment: Deployment) -> str:
    """Return a job that has been due for longer than a claim is held."""
    [made] = deployment.insert("quick")
    deployment.sql.execute("update sweephand.open set run_at = now() - interval '20 s'")
    return made


def installation(deployment: Deployment) -> str:
    """Return the installation's name."""
    row = deployment.sql.execute("select id from sweephand.installation").fetchone()
    assert row is not None
    return str(row[0])


def drained(**report: int) -> Life:
    """Return a tick that has just ended and said `drained`."""
    now = time.time()
    return Life(0, NEW, now - 5, now, 0, {"stopped": "drained", **report})


def test_due_work_that_nobody_holds_is_left(witness: Witness, job: str) -> None:
    """A job that has been due for so long, without a lease, a lock or a claim, was left behind."""
    witness.saw_end(drained())
    assert [left.jobs for left in witness.left] == [[job]]


def test_a_tick_that_says_budget_promises_nothing(witness: Witness, job: str) -> None:
    """Only `drained` says that nothing is left."""
    life = drained()
    life.report = {"stopped": "budget"}
    witness.saw_end(life)
    assert not witness.left


def test_leased_claimed_or_locked_work_is_others(witness: Witness, deployment: Deployment, job: str) -> None:
    """What another tick has started or claimed, or a user's transaction locks, is not the tick's."""
    deployment.sql.execute(
        "insert into sweephand.leases (id, token, created_at, started_at, until)"
        " select id, gen_random_uuid(), created_at, now(), now() + interval '9 s'"
        " from sweephand.open where id = %s",
        (job,),
    )
    witness.saw_end(drained())
    deployment.sql.execute("delete from sweephand.leases")
    key = f"sweephand:{{{installation(deployment)}}}:due:quick:0"
    deployment.redis.zadd(key, {job: time.time() * 1000 + HOLD * 1000})
    witness.saw_end(drained())
    deployment.redis.delete(key)
    with psycopg.connect(deployment.stack.database_url) as user:
        user.execute("delete from sweephand.jobs where id = %s", (job,))
        witness.saw_end(drained())
        user.rollback()
    assert witness.looks == 3
    assert not witness.left


def test_a_member_that_is_further_away_than_a_claim_holds_nothing(
    witness: Witness, deployment: Deployment, job: str
) -> None:
    """An index that says to look in an hour does not excuse the tick: the record has the job due."""
    key = f"sweephand:{{{installation(deployment)}}}:due:quick:0"
    deployment.redis.zadd(key, {job: time.time() * 1000 + 3_600_000})
    witness.saw_end(drained())
    assert len(witness.left) == 1


def test_what_another_tick_just_handed_back_is_no_lie(witness: Witness, job: str) -> None:
    """A tick that ends beside it and released jobs had them when this one looked."""
    life = drained()
    witness.saw_end(life)
    now = time.time()
    assert witness.misled([life])
    assert not witness.misled([life, Life(0, NEW, now - 9, now + 1, 0, {"stopped": "budget", "released": 7})])


def test_an_outage_excuses_a_tick(witness: Witness, job: str) -> None:
    """While the record is away, and just after, a tick is believed; a neighbour excuses nothing."""
    with witness.fault("a neighbour", Part.NEIGHBOUR):
        witness.saw_end(drained())
    assert len(witness.left) == 1
    with witness.fault("an outage", Part.RECORD):
        pass
    witness.saw_end(drained())
    assert len(witness.left) == 1
