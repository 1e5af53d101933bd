"""`sweephand jobs import`, against the gateway."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.cli.import_jobs import batches
from infra.local.services.services import Services
from infra.local.serving import serverless_yml
from infra.local.serving.function_server import Functions, FunctionServer
from sweephand.domain.errors import ConfigError
from sweephand.layout import ROOT
from tests.http.api import KEY
from tests.http.conftest import SETTINGS

LINE = json.dumps({"type": "anything", "payload": {"n": 1}})


@pytest.fixture(scope="module")
def gateway(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionServer]:
    """Yield every function behind its route."""
    server = FunctionServer(
        "gateway",
        Functions(str(ROOT / "main.py"), routes=str(serverless_yml.FILE)),
        env={**services.env, **SETTINGS},
        log=tmp_path_factory.mktemp("gateway") / "log",
    )
    with server:
        yield server


def run(server: FunctionServer, file: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Import `file`."""
    return subprocess.run(
        [sys.executable, "-m", "sweephand", "jobs", "import", str(file), *options],
        cwd=ROOT,
        env={**os.environ, "SWEEPHAND_URL": server.url, "SWEEPHAND_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
    )


def count(database: psycopg.Connection) -> int:
    """Return the number of jobs."""
    return len(database.execute("select id from sweephand.jobs").fetchall())


def test_a_file_is_imported_once(gateway: FunctionServer, database: psycopg.Connection, tmp_path: Path) -> None:
    """Every line becomes a job; a second run creates none of them again, and says so."""
    file = tmp_path / "jobs.ndjson"
    file.write_text(f"{LINE}\n\n" * 2500)
    first, again = run(gateway, file, "--json"), run(gateway, file)
    assert json.loads(first.stdout) == {"created": 2500, "present": 0}
    assert "0 jobs created, 2,500 were there" in again.stdout
    assert count(database) == 2500


def test_a_label_imports_once_more(gateway: FunctionServer, database: psycopg.Connection, tmp_path: Path) -> None:
    """Under another label the same lines are other jobs."""
    file = tmp_path / "jobs.ndjson"
    file.write_text(f"{LINE}\n" * 3)
    run(gateway, file)
    run(gateway, file, "--label", "tuesday")
    assert count(database) == 6


def test_a_wrong_line_is_named(gateway: FunctionServer, database: psycopg.Connection, tmp_path: Path) -> None:
    """A refused value is told with its line; what stands before its batch is created, and a mended file goes on."""
    file = tmp_path / "jobs.ndjson"
    lines = [LINE] * 1500
    lines[1204] = json.dumps({"type": "anything", "payload": {}, "priority": 99})
    file.write_text("\n".join(lines))
    wrong = run(gateway, file)
    assert wrong.returncode == 1
    assert f"{file}:1205: /priority:" in wrong.stderr
    assert "lines before 1001 are created" in wrong.stderr
    assert count(database) == 1000
    lines[1204] = LINE
    file.write_text("\n".join(lines))
    assert json.loads(run(gateway, file, "--json").stdout) == {"created": 500, "present": 1000}
    assert count(database) == 1500


def test_what_is_no_json_is_named(tmp_path: Path) -> None:
    """A line that is no JSON is told by its number before its batch is sent."""
    file = tmp_path / "jobs.ndjson"
    file.write_text(f"{LINE}\n\nnot JSON\n")
    with pytest.raises(ConfigError, match=r"jobs\.ndjson:3: not JSON"):
        list(batches(file))


def test_batches_are_bounded_in_bytes(tmp_path: Path) -> None:
    """A batch ends before 3 MiB; its lines and its key depend on the file alone."""
    file = tmp_path / "jobs.ndjson"
    file.write_text(f"{json.dumps({'type': 'anything', 'payload': {'text': 'x' * 100_000}})}\n" * 100)
    cut = list(batches(file))
    assert [len(batch.jobs) for batch in cut] == [31, 31, 31, 7]
    assert len({batch.key("") for batch in cut}) == 4
    assert [batch.key("") for batch in cut] == [batch.key("") for batch in batches(file)]
    assert cut[-1].end == file.stat().st_size
