"""Calls SQL functions in PostgreSQL itself: no HTTP and no PostgREST between.

A call is a transaction of its own, which says its isolation level and its time limit itself: the functions rely on
seeing what others have committed, whatever the database's default is, and what a caller gave up on must end.
Its statements travel in one round trip, through libpq's pipeline mode.
Safe behind a pooler that hands out a connection for each transaction, as Supabase's at port 6543 does: nothing is
prepared under a name, and the session is left as it was.
It speaks through libpq, as psycopg wraps it, rather than through psycopg's cursors: a call passes texts both ways,
and a wait for the answer has its limit here too, for a server that is gone.
"""

import contextlib
import json
import select
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PGconn, PollingStatus, TransactionStatus
from psycopg.pq.abc import PGconn as Connection
from psycopg.pq.abc import PGresult

from sweephand.adapters.sqlstate import error_of
from sweephand.domain.errors import ConfigError, RecordRefusedError, RecordSetupError, RecordUnavailableError

CONNECT_TIMEOUT = 5
"""Seconds to reach PostgreSQL."""
ANSWER_TIMEOUT = 15.0
"""Seconds that the server may be silent while it is asked."""
STATEMENT_TIMEOUT = 10.0
"""Seconds that a statement may take in the server, which cancels it then.

Well below ANSWER_TIMEOUT: the server is done with a call before its caller gives up. Were it not, a start that
waited for a lock would be carried out for nobody once that is free, and a backend would be busy with it until then.
"""
_TYPES = b"""
select coalesce(jsonb_object_agg(p.proname, (
  select coalesce(jsonb_object_agg(a.name, format_type(a.type, null)), '{}')
  from unnest(p.proargnames, p.proargtypes::oid[]) as a(name, type) where a.name is not null)), '{}')
from pg_catalog.pg_proc p
where p.pronamespace = 'public'::regnamespace and starts_with(p.proname, 'sweephand_')
"""
_REFUSALS = (b"authentication failed", b"does not exist", b"Wrong password", b"Tenant or user not found", b"pg_hba")
"""What servers and Supabase's pooler say of a wrong user, password or database; libpq gives no code for it."""

_BEGIN = b"begin isolation level read committed"
_COMMIT = b"commit"
_ROLLBACK = b"rollback"
_DONE = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})
_WAITS = {PollingStatus.READING: select.POLLIN, PollingStatus.WRITING: select.POLLOUT}
"""What the socket is waited for at each step of connecting; at any other there is nothing to wait for."""

Types = Mapping[str, Mapping[str, str]]
"""Each function's parameters and their types."""
Values = Sequence[bytes | None]
"""A statement's parameters, as texts."""


class DirectRpc:
    """An `Rpc` over connections of its own, one for each call that is made at the same time.

    A connection that turns out to be dead is made anew once: asking twice is safe, as it is over HTTP.
    """

    def __init__(self, conninfo: bytes) -> None:
        self._conninfo = conninfo
        self._idle: deque[Connection] = deque()
        self._types: Types = {}

    def __call__(self, name: str, params: Mapping[str, Any]) -> Any:
        """Call `public.<name>`; raises what the `Record` port raises."""
        if name not in self._types:
            self._types = json.loads(self._ask(name, _TYPES, []) or b"{}")
            if name not in self._types:
                raise RecordSetupError(f"{name} does not exist: apply the migrations.")
        types = self._types[name]
        named = ", ".join(f"{key} => ${at}" for at, key in enumerate(params, 1))
        try:
            values = [_text(value, types[key]) for key, value in params.items()]
        except KeyError as e:
            raise RecordSetupError(f"{name} has no parameter {e}: apply the migrations.") from e
        answer = self._ask(name, f"select public.{name}({named})".encode(), values)
        return None if answer is None else json.loads(answer)

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().finish()

    def _ask(self, name: str, statement: bytes, values: Values) -> bytes | None:
        """Return the one value that `statement` answers with, once it is committed."""
        for last in (False, True):
            connection = self._take()
            try:
                results = _answers(connection, _transaction(statement, values))
            except psycopg.OperationalError:
                results = []
            except TimeoutError as e:
                connection.finish()
                raise RecordUnavailableError(f"{name}: no answer in {ANSWER_TIMEOUT:g} s.") from e
            if results and connection.status == ConnStatus.OK:
                self._give_back(connection)
                return _value(name, results)
            # A frozen function wakes up with sockets that the other side closed long ago: all of them.
            connection.finish()
            self.close()
            if last:
                raise RecordUnavailableError(f"{name}: the record cut the connection.")
        raise AssertionError("unreachable")

    def _give_back(self, connection: Connection) -> None:
        """Keep a connection for the next call; a transaction that failed is ended first."""
        if connection.transaction_status != TransactionStatus.IDLE:
            with contextlib.suppress(psycopg.OperationalError, TimeoutError):
                _answers(connection, [(_ROLLBACK, ())])
        if connection.status == ConnStatus.OK and connection.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            connection.finish()

    def _take(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return _connected(self._conninfo)


def connect(url: str) -> DirectRpc:
    """Return an rpc on the database at `url`, a libpq URL or DSN; nothing is connected yet.

    CONNECT_TIMEOUT holds whatever its connect_timeout says. Raises `ConfigError` for what is neither.
    """
    defaults: dict[str, Any] = {"application_name": "sweephand", "tcp_user_timeout": 15_000}
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as e:
        raise ConfigError("DATABASE_URL is no PostgreSQL URL.") from e
    return DirectRpc(make_conninfo(**{**defaults, **given, "client_encoding": "utf8"}).encode())


def _connected(conninfo: bytes) -> Connection:
    """Return a new connection, made step by step: libpq's own wait holds the interpreter, and all that runs."""
    connection = PGconn.connect_start(conninfo)
    until = time.monotonic() + CONNECT_TIMEOUT
    state = PollingStatus.WRITING
    while connection.status != ConnStatus.BAD and state in _WAITS:
        wait = select.poll()  # of each step: the socket may be another one, for the next address
        wait.register(connection.socket, _WAITS[state])
        if not wait.poll(max(0.0, until - time.monotonic()) * 1000):
            connection.finish()
            raise RecordUnavailableError(f"PostgreSQL cannot be reached: no answer in {CONNECT_TIMEOUT} s.")
        state = PollingStatus(connection.connect_poll())
    if connection.status == ConnStatus.OK:
        connection.nonblocking = 1
        connection.enter_pipeline_mode()
        return connection
    said = connection.error_message.strip()
    connection.finish()
    line = " ".join(said.decode(errors="replace").split()) or "no answer"
    if any(refusal in said for refusal in _REFUSALS):
        raise RecordSetupError(f"PostgreSQL refused the connection ({line}): check DATABASE_URL.")
    raise RecordUnavailableError(f"PostgreSQL cannot be reached: {line}")


def _transaction(statement: bytes, values: Values) -> list[tuple[bytes, Values]]:
    limit = f"set local statement_timeout = {round(STATEMENT_TIMEOUT * 1000)}"
    return [(_BEGIN, ()), (limit.encode(), ()), (statement, values), (_COMMIT, ())]


def _answers(connection: Connection, statements: Sequence[tuple[bytes, Values]]) -> list[PGresult]:
    """Send `statements` in one flight and return what the server says of each; after an error it skips the rest.

    Raises `TimeoutError`, and psycopg's `OperationalError` when it is gone.
    """
    for statement, values in statements:
        connection.send_query_params(statement, values)
    connection.pipeline_sync()
    wait = select.poll()
    wait.register(connection.socket, select.POLLIN | select.POLLOUT)
    while connection.flush():
        if _ready(wait) & select.POLLIN:  # it may answer, and wait for us to listen, before it has read all
            connection.consume_input()
    wait.modify(connection.socket, select.POLLIN)
    results: list[PGresult] = []
    while True:
        while connection.is_busy():
            _ready(wait)
            connection.consume_input()
        result = connection.get_result()
        if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
            return results
        if result is not None:
            results.append(result)
        elif connection.status != ConnStatus.OK:  # else it marks the end of one statement's answers
            return results


def _ready(wait: select.poll) -> int:
    events = wait.poll(ANSWER_TIMEOUT * 1000)
    if not events:
        raise TimeoutError
    return events[0][1]


def _value(name: str, results: Sequence[PGresult]) -> bytes | None:
    """Return what the call's own statement answered; raises what the first that failed said, be it the commit."""
    for result in results:
        if result.status not in _DONE:
            code = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
            message = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
            raise error_of(name, code, message, check="DATABASE_URL")
    _begin, _limit, answer, _commit = results
    return answer.get_value(0, 0)


def _text(value: Any, type_: str) -> bytes | None:
    """Return `value` as PostgreSQL reads a parameter of `type_`.

    JSON is written in ASCII, so that no text in it can be cut short by a zero or be no UTF-8.
    """
    if value is None:
        return None
    if type_ in ("json", "jsonb"):
        return json.dumps(value, separators=(",", ":")).encode()
    text = _array(value) if type_.endswith("[]") else str(value)
    if "\0" in text:
        raise RecordRefusedError("a text holds U+0000")
    return text.encode("utf-8", "surrogatepass")


def _array(values: Sequence[str]) -> str:
    if not values:
        return "{}"
    together = "".join(values)
    if '"' in together or "\\" in together:
        values = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(values) + '"}'
