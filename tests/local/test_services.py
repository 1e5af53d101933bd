"""The services start quickly, keep their data, and leave nothing running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from infra.local.services.service import ServiceError
from infra.local.services.services import Services
from infra.local.services.supabase_keys import service_role_jwt
from tests.local.process_tree import descendants, wait_until_gone


def test_environment_reaches_every_service(clean: Services) -> None:
    """The addresses and keys in `env` work as they are."""
    env = clean.env
    with psycopg.connect(env["DATABASE_URL"]) as connection:
        assert connection.execute("select current_setting('is_superuser')").fetchone() == ("off",)
    with redis.Redis.from_url(env["REDIS_URL"]) as client:
        assert client.ping()
    for key in (env["SUPABASE_KEY"], service_role_jwt(clean.secrets.jwt)):
        assert httpx.get(env["SUPABASE_URL"] + "/rest/v1/", headers={"apikey": key}).status_code == 200


def test_new_objects_in_public_are_open_to_the_apis_roles(services: Services) -> None:
    """As on Supabase, a function is everyone's until its migration revokes that."""
    with psycopg.connect(services.database_url) as connection:
        connection.execute("create function public.f() returns int language sql as 'select 1'")
        query = "select has_function_privilege(r, 'public.f()', 'execute') from unnest(%s::text[]) r"
        assert connection.execute(query, (["anon", "authenticated", "service_role"],)).fetchall() == [(True,)] * 3
        connection.rollback()


def test_data_and_keys_outlive_a_restart(tmp_path: Path) -> None:
    """A second start is quick, has the data of the first, and the same keys."""
    with Services(tmp_path) as first:
        with redis.Redis.from_url(first.valkey.url) as client:
            client.set("kept", "yes")
        with psycopg.connect(first.database_url) as connection:
            connection.execute("create table kept ()")
    began = time.monotonic()
    with Services(tmp_path) as second:
        assert time.monotonic() - began < 5
        assert second.secrets == first.secrets
        with redis.Redis.from_url(second.valkey.url) as client:
            assert client.get("kept") == b"yes"
        with psycopg.connect(second.database_url) as connection:
            connection.execute("select from kept")


def test_second_use_of_the_same_folder_is_refused(services: Services) -> None:
    """One process at a time uses a data folder; the error names that process in one line."""
    with pytest.raises(ServiceError, match=f"in use by process {os.getpid()}: .*DATA_DIR") as refused:
        Services(services.folder.path)
    assert "\n" not in str(refused.value)


def test_secrets_are_for_their_owner_only(services: Services) -> None:
    """Keys lie in files that only the owner reads, and on no command line."""
    path = services.folder.path
    assert all((path / name).stat().st_mode & 0o077 == 0 for name in ("secrets.json", "valkey/valkey.conf"))
    shown = " ".join(word for service in services.started for word in service.command())
    assert not [secret for secret in services.folder.known_secrets() if secret in shown]


@pytest.mark.parametrize("name", ["postgres", "valkey", "postgrest", "supabase_gateway"])
def test_each_service_can_be_killed_and_started(services: Services, name: str) -> None:
    """A fault test ends any one service; started again it is where it was."""
    service = getattr(services, name)
    service.kill()
    assert service.pid is None
    service.start()
    if name == "postgres":
        services.postgrest.wait_ready()
    headers = {"apikey": services.secrets.secret_key}
    assert httpx.get(services.supabase_gateway.url + "/rest/v1/", headers=headers).status_code == 200


STARTS_THE_SERVICES = """
import sys
from pathlib import Path
from infra.local.services.services import Services
Services(Path(sys.argv[1])).start()
print("up", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, None])
def test_nothing_outlives_its_starter(tmp_path: Path, number: signal.Signals | None) -> None:
    """Whether the starter is killed or just forgets to stop, every service ends and the data is left clean."""
    command = [sys.executable, "-c", STARTS_THE_SERVICES, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        started = descendants(starter.pid)
        assert len(started) > 5
        if number:
            starter.send_signal(number)
        starter.communicate()
    assert wait_until_gone(started) == {}
    assert "database system is shut down" in (tmp_path / "logs" / "postgres.log").read_text().splitlines()[-1]
