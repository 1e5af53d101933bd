"""The folder that keeps all data of a local Sweephand. One process at a time uses it."""

import fcntl
import json
import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from sweephand.handlers.objects.url import parse_prefix

from .service import ServiceError

SECRETS = "secrets.json"
OURS = ("logs", "outbox", "objects")
"""Folders that only their owner may enter: they hold mail, pictures and what handlers print."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords and keys of the local services."""

    superuser: str
    postgres: str
    authenticator: str
    valkey: str
    jwt: str
    secret_key: str
    publishable_key: str

    @classmethod
    def new(cls) -> "Secrets":
        """Return new random secrets; the two keys have the form of Supabase's new-style keys."""
        return cls(
            superuser=secrets.token_urlsafe(24),
            postgres=secrets.token_urlsafe(24),
            authenticator=secrets.token_urlsafe(24),
            valkey=secrets.token_urlsafe(24),
            jwt=secrets.token_urlsafe(48),
            secret_key=f"sb_secret_{secrets.token_urlsafe(24)}",
            publishable_key=f"sb_publishable_{secrets.token_urlsafe(24)}",
        )


class DataFolder:
    """A data folder, with the lock that keeps a second process out."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Make the folder and keep other processes out until `unlock`, or until this process ends in any way.

        Raises ServiceError when another process has the lock, when the folder cannot be made, or when its path has
        a character that the URL of an object cannot have.
        """
        _check_name(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # As root: PostgreSQL's user has to pass through. It can list nothing, and each file is private itself.
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for name in OURS:
                (self.path / name).mkdir(exist_ok=True)
                (self.path / name).chmod(0o700)
            lock = (self.path / "lock").open("a+")
            (self.path / "lock").chmod(0o600)
        except OSError as error:
            raise ServiceError(f"{self.path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "of unknown number"
            lock.close()
            raise ServiceError(
                f"{self.path} is in use by process {holder}: stop it, or set DATA_DIR to another folder"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def unlock(self) -> None:
        """Let other processes use the folder."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def secrets(self) -> Secrets:
        """Return the folder's secrets; the first call makes them."""
        path = self.path / SECRETS
        if path.exists():
            return Secrets(**json.loads(path.read_text("utf-8")))
        made = Secrets.new()
        write_private(path, json.dumps(asdict(made), indent=2))
        return made

    def known_secrets(self) -> frozenset[str]:
        """Return every secret of the folder, none for a new folder: a URL that has one of them is our own."""
        exists = (self.path / SECRETS).exists()
        return frozenset(asdict(self.secrets()).values()) if exists else frozenset()

    def log(self, name: str) -> Path:
        """Return the path of the log of the service `name`."""
        return self.path / "logs" / f"{name}.log"

    def write_env(self, values: Mapping[str, str]) -> Path:
        """Write `env`, KEY=value lines that a shell can source and only the owner can read; return its path."""
        path = self.path / "env"
        write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
        return path


def _check_name(path: Path) -> None:
    """Raise ServiceError for a path that a payload's URL or STORAGE_PREFIXES cannot hold: they know no escapes."""
    try:
        parse_prefix(f"file://{path}/objects/")
        wrong = "the path has the character ','" if "," in str(path) else ""
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise ServiceError(f"DATA_DIR: {wrong}: choose another folder than {str(path)!r}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; a cut-off write leaves the old file."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
