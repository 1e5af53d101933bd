"""PostgreSQL runs for whoever starts it, and survives what a laptop does to it."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.local import postgres as postgres_module
from infra.local import unprivileged
from infra.local.postgres import SUPERUSER, Postgres
from infra.local.service import ServiceError
from infra.local.stack import Stack

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def _value(postgres: Postgres, query: str) -> object:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def test_what_was_committed_survives_a_power_cut(tmp_path: Path) -> None:
    """After SIGKILL to every process it starts again, on the same port, with all that was committed."""
    postgres = Postgres(tmp_path / "closed" / "data", password="p:/@'#?")
    (tmp_path / "closed").mkdir(mode=0o700)
    postgres.start()
    try:
        with psycopg.connect(postgres.url()) as connection:
            connection.execute("create table t as select 7 as i")
        postgres.kill()
        postgres.start()
        assert _value(postgres, "select i from t") == 7
        assert _value(postgres, "select current_setting('fsync')") == "on"
    finally:
        postgres.stop()
    assert "database system is shut down" in postgres.log.read_text()


def test_pid_file_whose_number_is_another_programs_is_no_obstacle(tmp_path: Path) -> None:
    """A stale postmaster.pid that names a living program, here this test, neither stops a start nor kills."""
    postgres = Postgres(tmp_path / "data", password="p")
    postgres.start()
    postgres.kill()
    pid_file = tmp_path / "data" / "postmaster.pid"
    pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().split("\n")[0], str(os.getppid()), 1))
    postgres.start()
    postgres.stop()


def test_server_that_outlived_its_starter_is_replaced(tmp_path: Path) -> None:
    """A start on the data of a forgotten server stops that one first."""
    forgotten = Postgres(tmp_path / "data", password="p")
    forgotten.start()
    postgres = Postgres(tmp_path / "data", password="p")
    postgres.start()
    assert forgotten.pid is None
    for server in (postgres, forgotten):  # of the second only its zombie is left
        server.stop()


def test_wrong_password_is_refused(tmp_path: Path, stack: Stack) -> None:
    """Loopback alone is no reason to be let in: other people may share the machine."""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(stack.postgres.url(SUPERUSER, "wrong"))


def test_failed_start_shows_the_log(tmp_path: Path) -> None:
    """When it does not start, the error has the server's own reason."""
    postgres = Postgres(tmp_path / "data", password="p", settings={"shared_buffers": "nonsense"})
    with pytest.raises(ServiceError, match="shared_buffers"):
        postgres.start()


@as_root
def test_root_steps_down(stack: Stack) -> None:
    """Started by root, the server runs as another user."""
    status = Path(f"/proc/{stack.postgres.pid}/status").read_text()
    assert "\nUid:\t0" not in status


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is what starts another user's Python here")
def test_plain_user_needs_no_root(tmp_path: Path) -> None:
    """Started by a plain user the server is that user's own."""
    uid = pwd.getpwnam("daemon").pw_uid
    # The interpreter may lie in root's home: the right to pass folders goes along.
    helper = unprivileged._setpriv(uid)
    code = (
        "import os, sys; from pathlib import Path; from infra.local.postgres import Postgres;"
        "p = Postgres(Path(sys.argv[1]), password='p'); p.start();"
        "print(os.geteuid(), os.stat(sys.argv[1]).st_uid, os.stat(f'/proc/{p.pid}').st_uid); p.stop()"
    )
    command = [*helper, sys.executable, "-c", code, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(uid)] * 3, done.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a new folder that every user may enter, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@as_root
def test_without_a_helper_a_closed_installation_is_copied(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where setpriv is missing, an installation in a closed home is copied beside the data, once."""
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    installation = postgres_module._installation()
    moved = unprivileged._copy_for_all(installation, closed)
    monkeypatch.setattr(postgres_module, "_installation", lambda: moved)
    monkeypatch.setattr(unprivileged, "_setpriv", lambda _uid: ())
    postgres = Postgres(open_folder / "data", password="p")
    for _ in range(2):
        postgres.start()
        postgres.stop()
    assert len(list(open_folder.glob("postgres-program-*"))) == 1


@as_root
def test_without_a_helper_closed_data_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where setpriv is missing and the data folder is closed, the error names the way out."""
    monkeypatch.setattr(unprivileged, "_setpriv", lambda _uid: ())
    (tmp_path / "home").mkdir(mode=0o700)
    with pytest.raises(ServiceError, match="set DATA_DIR to a folder outside"):
        Postgres(tmp_path / "home" / "data", password="p").start()
