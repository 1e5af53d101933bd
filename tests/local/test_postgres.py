"""PostgreSQL runs for whoever starts it, and survives what a laptop does to it."""

import functools
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

from infra.local.services import postgres as postgres_module
from infra.local.services import run_as
from infra.local.services.postgres import SUPERUSER, Postgres
from infra.local.services.service import ServiceError
from infra.local.services.services import Services

ROOT = Path(__file__).parents[2]
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


def test_wrong_password_is_refused(tmp_path: Path, services: Services) -> None:
    """Loopback alone is no reason to be let in: other people may share the machine."""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(services.postgres.url(SUPERUSER, "wrong"))


def test_failed_start_shows_the_log(tmp_path: Path) -> None:
    """When it does not start, the error has the server's own reason."""
    postgres = Postgres(tmp_path / "data", password="p", settings={"shared_buffers": "nonsense"})
    with pytest.raises(ServiceError, match="shared_buffers"):
        postgres.start()


@as_root
def test_root_runs_it_as_another_user(services: Services) -> None:
    """Started by root, the server runs as another user."""
    status = Path(f"/proc/{services.postgres.pid}/status").read_text()
    assert "\nUid:\t0" not in status


@as_root
def test_root_takes_none_of_its_rights_along(services: Services) -> None:
    """The server has no capability: not even SQL of its superuser reads what only root may."""
    status = Path(f"/proc/{services.postgres.pid}/status").read_text().splitlines()
    rights = {line.partition(":")[0]: int(line.split()[1], 16) for line in status if line.startswith("Cap")}
    assert [rights[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is what starts another user's Python here")
def test_plain_user_needs_no_root(tmp_path: Path) -> None:
    """Started by a plain user the server is that user's own."""
    uid = pwd.getpwnam("daemon").pw_uid
    # The interpreter may lie in root's home, and so may pytest's folders: the right to pass them goes along.
    rights = "+dac_override,+dac_read_search"
    helper = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    helper += [f"--inh-caps={rights}", f"--ambient-caps={rights}", "--"]
    code = (
        "import os, sys; from pathlib import Path; from infra.local.services import postgres;"
        "postgres.installation = lambda: Path(sys.argv[2]);"
        "p = postgres.Postgres(Path(sys.argv[1]), password='p'); p.start();"
        "print(os.geteuid(), os.stat(sys.argv[1]).st_uid, os.stat(f'/proc/{p.pid}').st_uid); p.stop()"
    )
    programs = run_as.readable_copy(postgres_module.installation())
    command = [*helper, sys.executable, "-c", code, str(tmp_path / "data"), str(programs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(uid)] * 3, done.stderr


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Yield a new folder that every user may enter and write into, as /var/tmp is; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


@as_root
def test_closed_programs_and_closed_data(
    shared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a home that only root may enter, the programs are copied to where all can read them; the data stays."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    closed = run_as.readable_copy(postgres_module.installation(), home)
    monkeypatch.setattr(postgres_module, "installation", lambda: closed)
    monkeypatch.setattr(run_as, "PROGRAMS", shared_folder)
    monkeypatch.setattr(run_as, "readable_copy", functools.partial(run_as.readable_copy, folder=shared_folder))
    postgres = Postgres(home / "Größe 1" / "data", password="p")
    for _ in range(2):
        postgres.start()
        assert _value(postgres, "select 7") == 7
        postgres.stop()
    [copy] = shared_folder.iterdir()
    assert (copy.stat().st_uid, copy.stat().st_mode & 0o7777) == (0, 0o755)
    assert (home / "Größe 1" / "data" / "PG_VERSION").exists()
    assert home.stat().st_mode & 0o7777 == 0o700


@as_root
@pytest.mark.parametrize("trap", ["folder", "link", "file", "open"])
def test_copy_that_another_user_put_there_is_replaced(shared_folder: Path, trap: str) -> None:
    """Who may write to /var/tmp cannot choose what PostgreSQL's user runs."""
    installation = postgres_module.installation()
    name = run_as.readable_copy(installation, shared_folder).relative_to(shared_folder).parts[0]
    target, uid = shared_folder / name, pwd.getpwnam("daemon").pw_uid
    if trap == "open":
        target.chmod(0o777)
    else:
        shutil.rmtree(target)
        foreign = shared_folder / "foreign"
        if trap == "folder":
            target.mkdir()
        elif trap == "file":
            target.touch()
        else:
            foreign.mkdir()
            target.symlink_to(foreign)
        os.chown(target, uid, uid, follow_symlinks=False)
    made = run_as.readable_copy(installation, shared_folder)
    assert (target.lstat().st_uid, target.lstat().st_mode & 0o7777) == (0, 0o755)
    assert (made / "bin" / "postgres").read_bytes() == (installation / "bin" / "postgres").read_bytes()
    assert not any(path.lstat().st_uid for path in target.rglob("*"))
