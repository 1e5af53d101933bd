"""What `sweephand doctor` finds, each by breaking it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
import redis

from infra.local.services.service import free_port
from infra.local.services.services import Services
from infra.local.services.valkey import Valkey

ROOT = Path(__file__).parents[2]
STRONG = "3f9c1e7ab2d84056"


def doctor(env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run the command with these settings alone."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "sweephand", "doctor"],
        cwd=ROOT,
        env={**kept, "PYTHONUTF8": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def healthy(clean: Services) -> dict[str, str]:
    """Return settings with nothing wrong."""
    return {**clean.env, "SWEEPHAND_API_KEYS": STRONG}


@pytest.fixture
def evicting(tmp_path: Path) -> Iterator[Valkey]:
    """Yield a server that drops keys when it is full."""
    options = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with Valkey(tmp_path / "valkey", password="secret", options=options) as server:
        yield server


def test_a_healthy_deployment_passes(healthy: Mapping[str, str]) -> None:
    """With nothing wrong every line has a tick mark and the status is 0."""
    answer = doctor(healthy)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "✗" not in answer.stdout
    assert "migrations: up to date" in answer.stdout


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"SUPABASE_KEY": "sb_secret_wrong"}, "SUPABASE_KEY is refused"),
        ({"SUPABASE_KEY": ""}, "SUPABASE_KEY is not set"),
        ({"SUPABASE_URL": "http://127.0.0.1:9"}, "does not answer"),
        ({"REDIS_URL": "redis://127.0.0.1:9"}, "Redis does not answer"),
        ({"SWEEPHAND_API_KEYS": ""}, "every call of the API is refused"),
        ({"HANDLERS": "no_such_module"}, "no_such_module"),
        ({"TICK_BUDGET_SECONDS": "3"}, "TICK_BUDGET_SECONDS"),
        ({"TICK_BUDGET_SECONDS": "soon"}, "must be a number"),
        ({"MAIL_URL": "pigeon://x"}, "MAIL_URL"),
        ({"HTTP_ALLOW": "10.0.0.1/8"}, "HTTP_ALLOW: '10.0.0.1/8' is neither"),
        ({"HTTP_CA_FILE": "/no/such.pem"}, "HTTP_CA_FILE: there is no file /no/such.pem"),
        ({"HTTP_CA_FILE": __file__}, "holds no certificates in PEM form"),
        ({"WEBHOOK_SIGNING_KEYS": "whsec_AAAA"}, "WEBHOOK_SIGNING_KEYS: entry 1 has a key of 3 bytes"),
        ({"WAKE_URL": "pigeon://x"}, "WAKE_URL must be"),
        ({"CORS_ORIGINS": "example.com"}, "CORS_ORIGINS holds origins"),
        ({"MAX_DRAINERS": "2"}, "a tick starts no others"),
        ({"DRAINERS_URL": "pigeon://x"}, "DRAINERS_URL must be"),
        ({"STORE": "direct", "DATABASE_URL": "postgresql://127.0.0.1:9/x"}, "PostgreSQL cannot be reached"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value.items()))[0],
)
def test_a_fault_is_told_in_words(healthy: Mapping[str, str], change: Mapping[str, str], told: str) -> None:
    """Each fault is a line that names it, the status is 1, and there is no stack trace."""
    answer = doctor({**healthy, **change})
    assert answer.returncode == 1
    assert told in answer.stdout, answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr


@pytest.mark.parametrize("key", ["a", "12345", "secret", "abcdefghijklmno", "a" * 40, "abab" * 10, f"{STRONG}, b"])
def test_a_key_that_can_be_guessed_is_told(healthy: Mapping[str, str], key: str) -> None:
    """A short key, and one of few characters, does not pass, nor is it printed."""
    answer = doctor({**healthy, "SWEEPHAND_API_KEYS": key})
    assert answer.returncode == 1
    assert "1 of them can be guessed" in answer.stdout
    assert len(key) < 10 or key not in answer.stdout


def test_dev_key_is_for_this_machine_alone(healthy: Mapping[str, str]) -> None:
    """What `sweephand dev` takes passes beside a local record, and beside no other."""
    assert doctor({**healthy, "SWEEPHAND_API_KEYS": "dev-key"}).returncode == 0
    answer = doctor({**healthy, "SWEEPHAND_API_KEYS": "dev-key", "SUPABASE_URL": "http://192.0.2.1.invalid"})
    assert "can be guessed" in answer.stdout


def test_the_last_tick_and_the_oldest_due_job_are_told(
    healthy: Mapping[str, str], database: psycopg.Connection
) -> None:
    """A schedule that does not tick, and what it left lying, are the first thing that a doctor sees."""
    database.execute("select sweephand.enqueue('generate_pdf')")
    answer = doctor(healthy)
    assert answer.returncode == 1
    assert "✗ ticks: none has been seen yet: check that the schedule calls it" in answer.stdout
    assert "✓ due jobs: the oldest has been due for" in answer.stdout
    answer = doctor(healthy)  # the first one looked for work, as a tick does
    assert answer.returncode == 0, answer.stdout
    assert "✓ ticks: the last one was" in answer.stdout
    database.execute("update sweephand.ticks set at = at - interval '300 s'")
    database.execute("update sweephand.open set run_at = run_at - interval '300 s'")
    answer = doctor(healthy)
    assert "✗ ticks: the last one was 3" in answer.stdout, answer.stdout
    assert "✗ due jobs: the oldest has been due for 3" in answer.stdout


def test_a_publishable_key_is_known_for_what_it_is(clean: Services, healthy: Mapping[str, str]) -> None:
    """The public key in place of the secret one is named."""
    answer = doctor({**healthy, "SUPABASE_KEY": clean.secrets.publishable_key})
    assert answer.returncode == 1
    assert "SUPABASE_KEY is a publishable key" in answer.stdout


def test_a_wrong_password_of_postgresql_is_told(clean: Services, healthy: Mapping[str, str]) -> None:
    """Over the direct transport it is DATABASE_URL that is to be looked at, not SUPABASE_KEY."""
    url = clean.postgres.url("postgres", "not-the-password")
    answer = doctor({**healthy, "STORE": "direct", "DATABASE_URL": url})
    assert answer.returncode == 1
    assert "check DATABASE_URL" in answer.stdout
    assert "SUPABASE_KEY" not in answer.stdout


def test_a_wrong_password_of_redis_is_told(clean: Services, healthy: Mapping[str, str]) -> None:
    """A refused password is told apart from a server that is away, and is not printed."""
    answer = doctor({**healthy, "REDIS_URL": f"redis://:hunter2@127.0.0.1:{clean.valkey.port}"})
    assert answer.returncode == 1
    assert "refuses the password" in answer.stdout
    assert "hunter2" not in answer.stdout + answer.stderr


def test_eviction_is_told(evicting: Valkey, healthy: Mapping[str, str]) -> None:
    """A policy that drops keys is named, with what it costs."""
    answer = doctor({**healthy, "REDIS_URL": evicting.url})
    assert answer.returncode == 1
    assert "allkeys-lru" in answer.stdout
    with redis.Redis.from_url(evicting.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
    assert doctor({**healthy, "REDIS_URL": evicting.url}).returncode == 0


def test_missing_and_old_migrations_are_told(tmp_path: Path) -> None:
    """A database without the migrations, and one that lacks a function, say what to run."""
    empty = tmp_path / "none"
    empty.mkdir()
    with Services(tmp_path / "stack", migrations=empty) as services:
        env = {**services.env, "SWEEPHAND_API_KEYS": STRONG}
        answer = doctor(env)
        assert answer.returncode == 1
        assert "the migrations are missing" in answer.stdout


def test_a_function_that_is_missing_is_named(clean: Services, healthy: Mapping[str, str]) -> None:
    """A record that is behind says which function it lacks."""
    rename = "alter function public.sweephand_settle_v1 rename to {}"
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        connection.execute(rename.format("sweephand_settle_v0"))
        connection.execute("notify pgrst, 'reload schema'")
        try:
            while "sweephand_settle_v1 cannot be called" not in (answer := doctor(healthy)).stdout:
                assert answer.returncode in (0, 1)
            assert answer.returncode == 1
        finally:
            connection.execute("alter function public.sweephand_settle_v0 rename to sweephand_settle_v1")
            connection.execute("notify pgrst, 'reload schema'")
    while doctor(healthy).returncode != 0:
        pass


def test_a_port_that_nobody_listens_on_is_told_at_once(healthy: Mapping[str, str]) -> None:
    """A service that is not there costs no long wait."""
    answer = doctor({**healthy, "REDIS_URL": f"redis://127.0.0.1:{free_port()}"})
    assert "Redis does not answer" in answer.stdout
