"""The Supabase gateway answers for keys and passes the rest on, as Supabase's does."""

import json
import socket
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from infra.local.services.services import Services
from infra.local.services.supabase_keys import jwt

WHO = "/rest/v1/rpc/edge_test_who"


@pytest.fixture(scope="module")
def who(services: Services) -> Iterator[Services]:
    """Yield the services with a function that tells the caller's role and gives back a text."""
    with psycopg.connect(services.database_url, autocommit=True) as database:
        database.execute(
            "create function public.edge_test_who(x text default '') returns jsonb language sql"
            " as $$select jsonb_build_object('role', current_user, 'x', x)$$"
        )
        database.execute("notify pgrst, 'reload schema'")
        yield services
        database.execute("drop function public.edge_test_who")


@pytest.fixture
def client(who: Services) -> Iterator[httpx.Client]:
    """Yield a client that retries until PostgREST has read the new function."""
    with httpx.Client(base_url=who.supabase_gateway.url) as client:
        while client.post(WHO, headers=_key(who.secrets.secret_key)).status_code == 404:
            pass
        yield client


def _key(key: str) -> dict[str, str]:
    return {"apikey": key}


def test_keys_become_roles(who: Services, client: httpx.Client) -> None:
    """A secret key acts as service_role, a publishable one as anon; legacy tokens are their own role."""
    keys = [who.secrets.secret_key, who.secrets.publishable_key, who.service_role_key]
    roles = [client.post(WHO, headers=_key(key)).json()["role"] for key in keys]
    assert roles == ["service_role", "anon", "service_role"]


def test_key_sent_as_bearer_too_counts_once(who: Services, client: httpx.Client) -> None:
    """supabase-py sends the key as apikey and as Bearer: the copy is replaced as well."""
    key = who.secrets.secret_key
    answer = client.post(WHO, headers={"apikey": key, "authorization": f"Bearer {key}"})
    assert answer.json()["role"] == "service_role"


def test_users_own_token_stays(who: Services, client: httpx.Client) -> None:
    """A publishable key with a user's token acts as that user."""
    token = jwt(who.secrets.jwt, "authenticated")
    headers = {"apikey": who.secrets.publishable_key, "authorization": f"Bearer {token}"}
    assert client.post(WHO, headers=headers).json()["role"] == "authenticated"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "No API key found in request"),
        ({"authorization": "Bearer sb_secret_none"}, "No API key found in request"),
        ({"apikey": "sb_secret_none"}, "Invalid API key"),
    ],
)
def test_no_or_unknown_key_is_401(client: httpx.Client, headers: dict[str, str], message: str) -> None:
    """Without a key that the project knows nothing reaches PostgREST."""
    answer = client.post(WHO, headers=headers, json={"x": "y" * 100_000})
    assert (answer.status_code, answer.json()["message"]) == (401, message)


def test_forged_token_is_401(client: httpx.Client) -> None:
    """A token signed with another secret is refused by PostgREST itself."""
    assert client.post(WHO, headers=_key(jwt("x" * 64, "service_role"))).status_code == 401


def test_other_paths_are_404(who: Services, client: httpx.Client) -> None:
    """Only the REST part of Supabase is here."""
    assert client.get("/auth/v1/user", headers=_key(who.secrets.secret_key)).status_code == 404
    assert client.get("/rest/v1x", headers=_key(who.secrets.secret_key)).status_code == 404


def test_large_bodies_pass_both_ways_on_one_connection(who: Services, client: httpx.Client) -> None:
    """Megabytes go through unchanged, sent with a length or in chunks, and the connection is kept."""
    text = "é" * 3_000_000
    body = json.dumps({"x": text}).encode()
    headers = {**_key(who.secrets.secret_key), "content-type": "application/json"}
    chunks = (body[at : at + 50_000] for at in range(0, len(body), 50_000))
    for content in (body, chunks):
        assert client.post(WHO, headers=headers, content=content).json()["x"] == text


def test_without_postgrest_it_answers_503_and_recovers(who: Services, client: httpx.Client) -> None:
    """While PostgREST is down callers get JSON; once it is back the same connections work again."""
    headers = _key(who.secrets.secret_key)
    who.postgrest.kill()
    try:
        answer = client.post(WHO, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/json")
    finally:
        who.postgrest.start()
    assert client.post(WHO, headers=headers).status_code == 200


def test_refused_body_is_read_to_a_bound(who: Services) -> None:
    """Without a key a body in chunks that never ends is given up after some megabytes."""
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", who.supabase_gateway.port), timeout=10) as raw:
        raw.sendall(b"POST /rest/v1/rpc/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            raw.sendall(piece * 1000)
    assert httpx.get(who.supabase_gateway.url, headers=_key(who.secrets.secret_key)).status_code == 404
