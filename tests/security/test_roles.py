"""Supabase's public roles, with real tokens through its gateway and PostgREST, reach nothing of ours."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from infra.local.services.services import Services
from infra.local.services.supabase_keys import jwt

PUBLIC = ("publishable", "anon", "authenticated")
FUNCTIONS = """
select p.proname, coalesce((select json_object_agg(a.name, null)
  from unnest(p.proargnames) as a(name) where a.name is not null), '{}')
from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'sweephand%'
"""
TABLES = "select relname from pg_class where relnamespace = 'sweephand'::regnamespace and relkind in ('r', 'v')"


def headers_of(services: Services, who: str) -> dict[str, str]:
    """Return what a caller of that role sends."""
    if who == "publishable":
        return {"apikey": services.secrets.publishable_key}
    token = jwt(services.secrets.jwt, who)
    return {"apikey": services.secrets.publishable_key, "Authorization": f"Bearer {token}"}


@pytest.fixture
def client(clean: Services) -> Iterator[httpx.Client]:
    """Yield a client of the Supabase gateway; there is a job to be read."""
    with psycopg.connect(clean.database_url, autocommit=True) as sql:
        sql.execute("select sweephand.enqueue('noop', '{\"secret\": 1}')")
    with httpx.Client(base_url=f"{clean.supabase_gateway.url}/rest/v1") as made:
        yield made


@pytest.mark.parametrize("who", PUBLIC)
def test_public_roles_run_no_function(clean: Services, client: httpx.Client, who: str) -> None:
    """Each of our functions is refused to each of them, as permission denied or as not there.

    Guards: `revoke all on function … from public, anon, authenticated` in each migration.
    """
    with psycopg.connect(clean.superuser_url) as sql:
        functions = sql.execute(FUNCTIONS).fetchall()
    assert len(functions) >= 9
    for name, arguments in functions:
        answer = client.post(f"/rpc/{name}", json=arguments, headers=headers_of(clean, who))
        assert answer.status_code in (401, 403, 404), (name, answer.text)
        assert answer.json()["code"] in ("42501", "PGRST202"), (name, answer.text)
        assert client.get(f"/rpc/{name}", headers=headers_of(clean, who)).status_code in (401, 403, 404, 405)


@pytest.mark.parametrize("who", [*PUBLIC, "service_role"])
@pytest.mark.parametrize("schema", [None, "sweephand"])
def test_tables_are_reached_by_nobody(clean: Services, client: httpx.Client, who: str, schema: str | None) -> None:
    """No table can be read or written through PostgREST, not even with the functions' own key.

    Guards: the schema of their own, which PostgREST does not expose.
    """
    with psycopg.connect(clean.superuser_url) as sql:
        tables = [name for (name,) in sql.execute(TABLES).fetchall()]
    assert "jobs" in tables
    sent = headers_of(clean, who) | ({"Accept-Profile": schema, "Content-Profile": schema} if schema else {})
    for table in tables:
        for method in ("GET", "POST", "PATCH", "DELETE"):
            answer = client.request(
                method, f"/{table}", headers=sent, json={} if method in ("POST", "PATCH") else None
            )
            assert answer.status_code in (401, 403, 404, 406), (table, method, answer.text)
            assert "secret" not in answer.text


@pytest.mark.parametrize("who", PUBLIC)
def test_the_list_of_what_there_is_names_none_of_ours(clean: Services, client: httpx.Client, who: str) -> None:
    """PostgREST's own description of the API shows them no function of ours."""
    assert "sweephand" not in client.get("/", headers=headers_of(clean, who)).text


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(
            lambda _stack: jwt("another secret, as long as HS256 asks for it", "service_role"), id="forged"
        ),
        pytest.param(lambda services: jwt(services.secrets.jwt, "postgres"), id="postgres"),
        pytest.param(lambda services: jwt(services.secrets.jwt, "supabase_admin"), id="supabase_admin"),
        pytest.param(lambda services: jwt(services.secrets.jwt, "authenticator"), id="authenticator"),
        pytest.param(lambda _stack: "e30.e30.", id="unsigned"),
    ],
)
def test_no_token_makes_a_stranger_more(clean: Services, client: httpx.Client, token: object) -> None:
    """A forged token, and one that names a role which PostgREST may not become, call nothing."""
    made = token(clean)  # type: ignore[operator]
    sent = {"apikey": clean.secrets.publishable_key, "Authorization": f"Bearer {made}"}
    answer = client.post("/rpc/sweephand_health_v1", headers=sent)
    assert answer.status_code in (400, 401, 403), answer.text


def test_a_new_function_is_not_public_by_accident(clean: Services) -> None:
    """Every function named sweephand… in `public` pins its search_path and is revoked from PUBLIC."""
    with psycopg.connect(clean.superuser_url) as sql:
        rows = sql.execute(
            "select proname, prosecdef, proconfig::text, proacl::text from pg_proc"
            " where pronamespace = 'public'::regnamespace and proname like 'sweephand%'"
        ).fetchall()
    for name, definer, config, acl in rows:
        assert definer, name
        assert "search_path=pg_catalog, pg_temp" in config, (name, config)
        assert "anon=" not in acl, name
        assert "authenticated=" not in acl, name
        assert not acl.startswith("{=X"), name
