"""What people type first: `sweephand` as a program, against a running API."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.cli.app import main
from infra.local.services.postgres import Postgres
from infra.local.services.service import free_port
from infra.local.services.services import Services
from infra.local.serving import serverless_yml
from infra.local.serving.function_server import Functions, FunctionServer
from sweephand.version import VERSION
from tests.http.api import KEY, SOURCE
from tests.http.conftest import SETTINGS

ROOT = Path(__file__).parents[2]
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def server(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionServer]:
    """Yield a running API."""
    log = tmp_path_factory.mktemp("cli") / "gateway.log"
    functions = Functions(str(SOURCE), routes=str(serverless_yml.FILE))
    with FunctionServer("gateway", functions, env=services.env | SETTINGS, log=log) as running:
        yield running


def run(*words: str, url: str = "", **env: str) -> "subprocess.CompletedProcess[str]":
    """Type a command."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "sweephand", *words],
        cwd=ROOT,
        env={**kept, "PYTHONUTF8": "1", "SWEEPHAND_URL": url, "SWEEPHAND_API_KEY": KEY, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_version_is_told() -> None:
    """`--version` prints the one version number."""
    assert run("--version").stdout == f"sweephand {VERSION}\n"


def test_shell_completion_is_there() -> None:
    """A shell can be taught the commands."""
    assert "--install-completion" in run("--help").stdout
    assert "complete" in run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout


def test_job_is_explained(server: FunctionServer, clean: Services) -> None:
    """`jobs explain` says why a job is where it is, in words or as the API's JSON."""
    job = run("jobs", "create", "anything", url=server.url).stdout.strip()
    said = run("jobs", "explain", job, url=server.url)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"{job} is pending\nIt is due since")
    assert json.loads(run("jobs", "explain", job, "--json", url=server.url).stdout)["id"] == job


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("command", ["show", "explain", "cancel"])
@pytest.mark.parametrize("job", ["x/../../health", "?", "#", "a b", "é", ""])
def test_odd_id_asks_for_no_other_path(
    server: FunctionServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    job: str,
    command: str,
) -> None:
    """A text that is typed as an id stays within the path's segment."""
    env = {"SWEEPHAND_URL": server.url, "SWEEPHAND_API_KEY": KEY, "NO_PROXY": "", "no_proxy": ""}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["sweephand", "jobs", command, "--", job])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (1, ""), printed.out
    assert "404" in printed.err


@pytest.mark.parametrize("columns", ["80", "60"])
def test_ids_are_whole_in_a_narrow_terminal(server: FunctionServer, clean: Services, columns: str) -> None:
    """At 80 columns and fewer an id can be copied from the list."""
    job = run("jobs", "create", "anything", url=server.url).stdout.strip()
    shown = run("jobs", "list", url=server.url, COLUMNS=columns).stdout
    assert [found[0] for found in ID.finditer(shown)] == [job]


def test_no_color_is_heeded(server: FunctionServer, clean: Services) -> None:
    """With NO_COLOR nothing is coloured, not even where colour is forced."""
    forced = {"FORCE_COLOR": "1", "NO_COLOR": "1"}
    for words in (("jobs", "list"), ("jobs", "show", "x"), ("doctor",)):
        said = run(*words, url=server.url, **forced)
        assert "\x1b[3" not in said.stdout + said.stderr


def test_import_into_nothing_says_so_at_once(tmp_path: Path) -> None:
    """A dead address is told within seconds, with what to set."""
    file = tmp_path / "jobs.ndjson"
    file.write_text('{"type": "anything", "payload": {}}\n')
    began = time.monotonic()
    said = run("jobs", "import", str(file), url=f"http://127.0.0.1:{free_port()}")
    assert said.returncode == 1
    assert "does not answer" in said.stderr
    assert "set SWEEPHAND_URL" in said.stderr
    assert time.monotonic() - began < 5


def test_migrate_shows_what_it_will_do(tmp_path: Path) -> None:
    """What will be applied is told before it is, and `--dry-run` changes nothing."""
    with Postgres(tmp_path / "postgres", password="p", log=tmp_path / "log") as postgres:
        url = postgres.url()
        dry = run("migrate", "--dry-run", DATABASE_URL=url)
        assert dry.returncode == 0, dry.stderr
        assert dry.stdout.startswith("To apply: 20261124000001_sweephand_tables, ")
        with psycopg.connect(url) as connection:
            assert connection.execute("select to_regnamespace('sweephand')").fetchone() == (None,)
            connection.execute("create role anon")
            connection.execute("create role authenticated")
            connection.execute("create role service_role")
            connection.commit()
        applied = run("migrate", DATABASE_URL=url)
        assert applied.returncode == 0, applied.stderr
        assert applied.stdout.index("To apply: ") < applied.stdout.index("applied 20261124000001")
        assert "nothing to apply" in run("migrate", "--dry-run", DATABASE_URL=url).stdout
