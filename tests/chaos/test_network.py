"""What stands between a tick and its services answers in their place, or swallows their answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.services.valkey import Valkey
from sweephand import app
from sweephand.adapters import rest as rest_rpc
from sweephand.domain.errors import RecordUnavailableError
from sweephand.domain.retry_policy import Complete
from sweephand.ports.record import Record, Settlement
from tests.chaos.proxy import Proxy, http_error
from tests.tick.conftest import Deployment, forget


@pytest.fixture
def record_proxy(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Yield a proxy through which this process and its children reach the record."""
    with Proxy(deployment.stack.supabase_gateway.port) as proxy:
        monkeypatch.setenv("SUPABASE_URL", f"http://127.0.0.1:{proxy.port}")
        app.close()
        forget()
        yield proxy
        app.close()


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b""])
def test_a_page_that_is_not_the_records_is_no_answer(body: bytes) -> None:
    """A proxy's 200 with a page of its own is an outage: no call takes it for the record's answer.

    Guards: the look at `data` in `SupabaseRpc`.
    """
    with Proxy(1) as proxy:
        proxy.answer(http_error(200, body, "text/html"))
        rpc = rest_rpc.connect(f"http://127.0.0.1:{proxy.port}", "sb_secret_x")
        record = Record(rpc)
        with pytest.raises(RecordUnavailableError):
            record.restore(["note"], 1000, 10)
        with pytest.raises(RecordUnavailableError):
            record.settle([Settlement("01980000-0000-7000-8000-000000000000", "t", Complete(None))])
        rpc.close()


@pytest.mark.parametrize("name", ["restore", "start", "settle"])
def test_a_lost_answer_is_asked_for_again(deployment: Deployment, record_proxy: Proxy, name: str) -> None:
    """The call was carried out and its answer lost, once: the tick asks again and nothing is done twice.

    Guards: the token, by which start and settle are asked again in safety.
    """
    jobs = [deployment.create("note") for _ in range(5)]
    record_proxy.swallow(f"sweephand_{name}_v1".encode(), times=1)
    report = deployment.tick()
    assert record_proxy.swallowed == 1
    assert (report.completed, report.late_writes) == (5, 0)
    assert deployment.entries() == dict.fromkeys(jobs, 1)


def test_a_create_whose_answer_is_lost_is_asked_again(deployment: Deployment, record_proxy: Proxy) -> None:
    """The job was committed and its answer lost, once: the caller hears of one job, and there is one.

    Guards: the second try in `SupabaseRpc`; `on conflict (id) do nothing` in `sweephand_create_v1`.
    """
    record_proxy.swallow(b"sweephand_create_v1", times=1)
    job = deployment.create("note")
    assert record_proxy.swallowed == 1
    assert deployment.sql.execute("select id::text from sweephand.jobs").fetchall() == [(job,)]


def test_a_start_whose_answers_are_all_lost_costs_no_attempt(deployment: Deployment, record_proxy: Proxy) -> None:
    """The record leased the jobs and the tick never heard: it gives them back, unentered, as soon as it is heard.

    Guards: `Settle.release_lost`, which `Start._start` calls.
    """
    for _ in range(5):
        deployment.create("note")
    record_proxy.swallow(b"sweephand_start_v1")
    with pytest.raises(RecordUnavailableError):
        deployment.tick(budget=9)
    record_proxy.heal()
    assert deployment.sql.execute("select count(*) from sweephand.leases").fetchone() == (0,)
    assert deployment.sql.execute("select max(attempt), max(crashes) from sweephand.open").fetchone() == (0, 0)
    deployment.make_due()
    assert deployment.tick().completed == 5


def test_an_index_that_became_a_replica_is_left_for_its_successor(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a failover old connections still reach the old server, now read-only: the same call connects anew.

    Guards: `ReadOnlyError` in `RedisServer.run`.
    """
    old = deployment.stack.valkey
    with Proxy(old.port) as proxy, Valkey(tmp_path / "successor", password=old.password) as successor:
        monkeypatch.setenv("REDIS_URL", old.url.replace(f":{old.port}/", f":{proxy.port}/"))
        forget()
        deployment.create("note")
        assert deployment.tick().completed == 1
        waiting = deployment.create("note")
        deployment.redis.config_set("masterauth", str(old.password))
        deployment.redis.replicaof("127.0.0.1", successor.port)
        try:
            proxy.switch(successor.port)
            late = deployment.create("note")
            report = deployment.tick()
        finally:
            deployment.redis.replicaof("NO", "ONE")
        assert (report.completed, report.index_errors) == (2, 0)
        assert deployment.entries()[waiting] == deployment.entries()[late] == 1
        app.close()


def test_a_settler_that_fails_ends_the_tick(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw is raised at once: the tick does not wait for settlements that will not come.

    Guards: `ended` in `Settle.unsettled`.
    """
    deployment.create("note")

    def broken(*_args: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(app.record(), "settle", broken)
    with pytest.raises(ValueError, match="no such thing"):
        deployment.tick(budget=8)
