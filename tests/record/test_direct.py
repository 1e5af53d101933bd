"""The transport that speaks to PostgreSQL itself: what it does when a connection fails, what it leaves behind."""

import json
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import psycopg.conninfo
import pytest
from psycopg import sql as sql_text

from infra.local.services.services import Services
from sweephand import app
from sweephand.adapters import direct as direct_rpc
from sweephand.adapters.clock import SystemClock
from sweephand.adapters.direct import DirectRpc
from sweephand.adapters.rest import SupabaseRpc
from sweephand.domain.errors import (
    ConfigError,
    RecordRefusedError,
    RecordSetupError,
    RecordStatementError,
    RecordUnavailableError,
)
from sweephand.domain.job import NewJob
from sweephand.ports.record import Record
from tests.http.conftest import forget
from tests.record.conftest import LEASES, a_job, made, started
from tests.waiting import wait_until


@pytest.fixture
def direct(clean: Services) -> Iterator[DirectRpc]:
    """Yield the transport over an empty record."""
    rpc = direct_rpc.connect(clean.database_url)
    yield rpc
    rpc.close()


def cut_connections(sql: psycopg.Connection) -> int:
    """End every session of the transport, as a pooler or a restart does; return how many there were."""
    row = sql.execute(
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where application_name = 'sweephand'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_dead_connections_are_made_anew(direct: DirectRpc, sql: psycopg.Connection) -> None:
    """A call whose connection the server has closed, as all others too, is made once more and answered."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: direct("sweephand_health_v1", {}), range(20)))
    assert cut_connections(sql) >= 1
    assert direct("sweephand_health_v1", {})["schema"] >= 1


def test_a_stopped_server_is_unavailable(direct: DirectRpc, clean: Services) -> None:
    """Without PostgreSQL a call says unavailable at once; when it is back the next one is answered."""
    direct("sweephand_health_v1", {})
    clean.postgres.stop()
    try:
        with pytest.raises(RecordUnavailableError):
            direct("sweephand_health_v1", {})
    finally:
        clean.postgres.start()
    assert direct("sweephand_health_v1", {})["schema"] >= 1


def test_a_silent_server_has_a_limit(
    direct: DirectRpc, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes the question and gives no answer is unavailable after ANSWER_TIMEOUT."""
    direct("sweephand_health_v1", {})
    monkeypatch.setattr(direct_rpc, "ANSWER_TIMEOUT", 0.2)
    with sql.transaction():
        sql.execute("lock table sweephand.jobs in access exclusive mode")
        with pytest.raises(RecordUnavailableError, match=r"no answer in 0\.2 s"):
            direct("sweephand_get_v1", {"id": str(uuid.uuid4())})
    assert direct("sweephand_health_v1", {})["schema"] >= 1


def test_a_server_that_does_not_speak_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes the connection and says nothing is away after CONNECT_TIMEOUT."""
    monkeypatch.setattr(direct_rpc, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        rpc = direct_rpc.connect(f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(RecordUnavailableError, match=r"no answer in 0\.2 s"):
            rpc("sweephand_health_v1", {})


def _hang_up(server: socket.socket) -> None:
    server.accept()[0].close()


def test_others_run_while_a_connection_is_made() -> None:
    """A server within this very process gets its turn to answer, which is here to hang up."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        hung_up = pool.submit(_hang_up, server)
        rpc = direct_rpc.connect(f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/x?sslmode=disable")
        with pytest.raises(RecordUnavailableError, match="closed the connection"):
            rpc("sweephand_health_v1", {})
        hung_up.result()


def test_a_wrong_password_is_the_operators(clean: Services) -> None:
    """A password that PostgreSQL refuses is a matter of set-up, and is not repeated in what is said."""
    rpc = direct_rpc.connect(clean.postgres.url("postgres", "not-the-password"))
    with pytest.raises(RecordSetupError, match="check DATABASE_URL") as caught:
        rpc("sweephand_health_v1", {})
    assert "not-the-password" not in str(caught.value)


def test_what_is_no_url_is_said() -> None:
    """A DATABASE_URL that cannot be read is a configuration error."""
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        direct_rpc.connect("postgres//no")


def test_a_missing_function_is_the_operators(direct: DirectRpc) -> None:
    """A function or a parameter that the database lacks tells to apply the migrations."""
    with pytest.raises(RecordSetupError, match="apply the migrations"):
        direct("sweephand_of_tomorrow_v1", {})
    with pytest.raises(RecordSetupError, match="apply the migrations"):
        direct("sweephand_get_v1", {"of_tomorrow": 1})


def test_it_leaves_no_session_state(direct: DirectRpc) -> None:
    """After calls a session has no prepared statement, no setting of its own and no open transaction."""
    made(Record(direct), a_job())
    assert len(direct._idle) == 1
    (connection,) = direct._idle
    left, settings = (
        direct_rpc._answers(connection, [(statement, ())])[0].get_value(0, 0)
        for statement in (
            b"select count(*) from pg_prepared_statements",
            b"select count(*) from pg_settings where source = 'session'",
        )
    )
    assert (left, settings, connection.transaction_status) == (b"0", b"0", 0)


@contextmanager
def isolated_by_default(stack: Services, level: str) -> Iterator[None]:
    """Have new sessions of the database begin their transactions at another isolation level."""
    name = sql_text.Identifier(str(psycopg.conninfo.conninfo_to_dict(stack.database_url)["dbname"]))
    change = sql_text.SQL("alter database {} set default_transaction_isolation = {}")
    reset = sql_text.SQL("alter database {} reset default_transaction_isolation")
    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        connection.execute(change.format(name, level))
        try:
            yield
        finally:
            connection.execute(reset.format(name))


def waiting(sql: psycopg.Connection, kind: str = "%") -> int:
    """Return how many of the transport's sessions are at work, of those that wait for `kind` of thing."""
    row = sql.execute(
        "select count(*) from pg_stat_activity"
        " where application_name = 'sweephand' and state <> 'idle' and coalesce(wait_event_type, '') like %s",
        (kind,),
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_start_that_waited_sees_what_was_committed(clean: Services, sql: psycopg.Connection, level: str) -> None:
    """Whatever the database's default isolation, a job that ended while the start waited is not started again."""
    with isolated_by_default(clean, level), ThreadPoolExecutor() as pool:
        rpc = direct_rpc.connect(clean.database_url)
        record = Record(rpc)
        [job] = made(record, a_job())
        with psycopg.connect(clean.database_url) as other:
            token = str(uuid.uuid4())
            other.execute(
                "select public.sweephand_start_v1(array[%s]::uuid[], %s, %s::jsonb, false, 1000000)",
                (job, token, json.dumps(LEASES)),
            )
            ended = [{"id": job, "token": token, "to": "completed"}]
            other.execute("select public.sweephand_settle_v1(%s::jsonb)", (json.dumps(ended),))
            starting = pool.submit(started, record, job)
            wait_until(lambda: waiting(sql, "Lock"))
            other.commit()
        assert starting.result() == []
        rpc.close()


def test_what_takes_too_long_is_cancelled_in_the_server(
    direct: DirectRpc, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start behind a user's lock fails, leaves nothing at work in the server, and starts nothing afterwards.

    Without the limit of its waits for locks, which is shorter.
    """
    record = Record(direct)
    ids = made(record, a_job(), a_job())
    monkeypatch.setattr(direct_rpc, "STATEMENT_TIMEOUT", 0.3)
    start_v1 = "alter function public.sweephand_start_v1 set lock_timeout = "
    sql.execute(start_v1 + "'0'")
    with ExitStack() as restoring:
        restoring.callback(sql.execute, start_v1 + "'50ms'")
        restoring.enter_context(sql.transaction())
        sql.execute("lock table sweephand.open in access exclusive mode")
        with pytest.raises(RecordStatementError, match="57014"):
            started(record, *ids)
        assert waiting(sql) == 0
        assert len(direct._idle) == 1
    assert sql.execute("select count(*) from sweephand.leases").fetchone() == (0,)
    assert {start.id for start in started(record, *ids)} == set(ids)


def test_the_server_gives_up_before_the_caller() -> None:
    """What the caller gave up on is not carried out later."""
    assert direct_rpc.STATEMENT_TIMEOUT <= direct_rpc.ANSWER_TIMEOUT - 5


def test_a_commit_that_fails_is_an_error(direct: DirectRpc, sql: psycopg.Connection) -> None:
    """What a deferred constraint of a user's refuses at the commit is not answered as done."""
    sql.execute("create table public.allowed (type text primary key)")
    sql.execute(
        "alter table sweephand.jobs add constraint users_own foreign key (type) references public.allowed"
        " deferrable initially deferred"
    )
    try:
        with pytest.raises(RecordRefusedError, match="23503"):
            Record(direct).create([a_job()])
    finally:
        sql.execute("alter table sweephand.jobs drop constraint users_own")
        sql.execute("drop table public.allowed")
    assert sql.execute("select count(*) from sweephand.jobs").fetchone() == (0,)
    assert len(made(Record(direct), a_job())) == 1


def test_an_error_leaves_the_session_as_it_was(direct: DirectRpc, sql: psycopg.Connection) -> None:
    """After a call that failed the same connection has no open transaction and takes the next call."""
    pid = direct._ask("", b"select pg_backend_pid()", [])
    with pytest.raises(RecordRefusedError, match="22012"):
        direct._ask("", b"select 1 / 0", [])
    assert waiting(sql) == 0
    assert [each.transaction_status for each in direct._idle] == [0]
    assert direct._ask("", b"select pg_backend_pid()", []) == pid


def test_a_session_that_an_error_ends_is_not_kept(direct: DirectRpc, sql: psycopg.Connection) -> None:
    """One that is cut while a transaction of its own has failed is not handed to the next call."""
    direct("sweephand_health_v1", {})
    connection = direct._take()
    direct_rpc._answers(connection, [(b"begin", ()), (b"select 1 / 0", ())])
    cut_connections(sql)
    direct._give_back(connection)
    assert not direct._idle
    assert direct("sweephand_health_v1", {})["schema"] >= 1


def test_threads_have_a_connection_each(direct: DirectRpc, sql: psycopg.Connection) -> None:
    """Calls from many threads at once are answered, each with its own answer, and connections are used again."""
    record = Record(direct)
    ids = made(record, *(a_job() for _ in range(64)))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert [str((record.get(uuid.UUID(job)) or {})["id"]) for job in ids] == ids
            assert [job["id"] for job in pool.map(lambda job: direct("sweephand_get_v1", {"id": job}), ids)] == ids
    assert 1 <= cut_connections(sql) <= 9


def test_megabytes_pass_both_ways(direct: DirectRpc) -> None:
    """A call larger than what sockets buffer, and its answer, pass whole."""
    record = Record(direct)
    jobs = [NewJob(SystemClock().job_id(), "noop", {"text": "ü\\\"'" * 50_000}) for _ in range(40)]
    record.create(jobs)
    starts = started(record, *(str(job.id) for job in jobs))
    assert {start.payload["text"] for start in starts} == {"ü\\\"'" * 50_000}


def test_names_may_hold_anything(direct: DirectRpc, sql: psycopg.Connection) -> None:
    """Types pass as they are, quotes, commas and braces included; a zero byte is refused, not cut at."""
    odd = ['a"b', "c,d", "{e}", "f\\g", "null", "", "ü"]
    direct("sweephand_restore_v1", {"types": odd, "horizon_ms": 1, "max_rows": 1, "after": None})
    direct("sweephand_restore_v1", {"types": [], "horizon_ms": 1, "max_rows": 1, "after": None})
    with pytest.raises(RecordRefusedError, match=r"U\+0000"):
        direct("sweephand_list_v1", {"status": None, "type": "no\0op", "max_rows": 1})


def test_numbers_keep_their_value(direct: DirectRpc, rpc: SupabaseRpc | DirectRpc, sql: psycopg.Connection) -> None:
    """Integers beyond 64 bits and long decimals that SQL put into a payload come as over every other transport."""
    sql.execute(
        "insert into sweephand.jobs (type, payload)"
        " values ('noop', '{\"i\": 123456789012345678901234567890, \"d\": 0.1234567890123456789}')"
    )
    [page] = Record(direct).restore(["noop"], 1000, 10).jobs
    job = direct("sweephand_get_v1", {"id": page.id})
    assert job == rpc("sweephand_get_v1", {"id": page.id})
    assert job["payload"]["i"] == 123456789012345678901234567890


def test_store_names_the_transport(clean: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """STORE=direct composes the record over DATABASE_URL; another word is refused by name."""
    monkeypatch.setenv("DATABASE_URL", clean.database_url)
    monkeypatch.setenv("STORE", "direct")
    forget()
    assert app.record().health()["schema"] == 1
    monkeypatch.setenv("STORE", "telepathy")
    forget()
    with pytest.raises(ConfigError, match="STORE must be rest or direct"):
        app.record()
    forget()
