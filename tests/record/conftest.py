"""The record, over each transport that may carry its calls."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import supabase

from infra.local.services.services import Services
from sweephand.adapters import direct as direct_rpc
from sweephand.adapters import rest as rest_rpc
from sweephand.adapters.clock import SystemClock
from sweephand.adapters.direct import DirectRpc
from sweephand.adapters.rest import SupabaseRpc
from sweephand.domain.job import NewJob
from sweephand.domain.retry_policy import Complete
from sweephand.ports.record import Record, Settlement, Start

LEASES = {"noop": 30_000, "other": 30_000}


def with_secret_key(stack: Services) -> SupabaseRpc:
    """Return the functions' own transport, with a new-style secret key."""
    return rest_rpc.connect(stack.env["SUPABASE_URL"], stack.env["SUPABASE_KEY"])


def with_legacy_jwt(stack: Services) -> SupabaseRpc:
    """Return the functions' own transport, with a service_role JWT."""
    return rest_rpc.connect(stack.env["SUPABASE_URL"], stack.service_role_key)


def with_supabase(stack: Services) -> SupabaseRpc:
    """Return a transport over the whole `supabase` client."""
    client = supabase.create_client(stack.env["SUPABASE_URL"], stack.service_role_key)
    return SupabaseRpc(client, client.postgrest.session)


def directly(stack: Services) -> DirectRpc:
    """Return the transport that speaks to PostgreSQL itself."""
    return direct_rpc.connect(stack.database_url)


@pytest.fixture(
    scope="session",
    params=[with_secret_key, with_legacy_jwt, with_supabase, directly],
    ids=lambda make: make.__name__,
)
def rpc(request: pytest.FixtureRequest, stack: Services) -> Iterator[SupabaseRpc | DirectRpc]:
    """Yield each transport."""
    made = request.param(stack)
    yield made
    made.close()


@pytest.fixture
def record(rpc: SupabaseRpc | DirectRpc, clean: Services) -> Record:
    """Return an empty record."""
    return Record(rpc)


@pytest.fixture
def sql(clean: Services) -> Iterator[psycopg.Connection]:
    """Yield a connection of the tables' owner, to see and to age what the record holds."""
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        yield connection


def a_job(type_: str = "noop", **fields: Any) -> NewJob:
    """Return a job that is due at once unless `fields` say otherwise."""
    return NewJob(SystemClock().job_id(), type_, {"n": 1}, **fields)


def made(record: Record, *jobs: NewJob) -> list[str]:
    """Create jobs and return their ids."""
    return [str(job["id"]) for job in record.create(jobs or [a_job()]).jobs]


def started(record: Record, *ids: str, exclusive: bool = False) -> list[Start]:
    """Start jobs with a token of their own."""
    call = record.start(ids, str(uuid.uuid4()), LEASES, exclusive=exclusive, max_bytes=10**7)
    return list(call.starts)


def done(start: Start) -> Settlement:
    """Return the settlement of a start that returned nothing."""
    return Settlement(start.id, start.token, Complete(None))


def lapse(sql: psycopg.Connection) -> None:
    """Let every lease expire, as if its time had passed."""
    sql.execute(
        "update sweephand.leases set started_at = now() - interval '2 min', until = now() - interval '1 min'"
    )
