"""The folder that keeps everything a local Sweephand has: one process at a time uses it."""

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
"""Folders that only we use: mail, pictures and what handlers print are nobody else's."""


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
        """Return fresh ones, with the new-style keys in Supabase's form."""
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
    """A data folder, and the lock that keeps a second process out of it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    def hold(self) -> None:
        """Make the folder and keep others out, until `release` or our end, whichever way it comes.

        Raises ServiceError when another process holds it, it cannot be made, or no object's URL could name it.
        """
        _check_name(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # As root, PostgreSQL's user must pass: it can list nothing, and what lies here is private in itself.
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

    def release(self) -> None:
        """Let others in."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def secrets(self) -> Secrets:
        """Return the folder's secrets, made at the first call."""
        path = self.path / SECRETS
        if path.exists():
            return Secrets(**json.loads(path.read_text("utf-8")))
        made = Secrets.new()
        write_private(path, json.dumps(asdict(made), indent=2))
        return made

    def made(self) -> frozenset[str]:
        """Return every secret made so far, none in a new folder: by them our own addresses are known."""
        exists = (self.path / SECRETS).exists()
        return frozenset(asdict(self.secrets()).values()) if exists else frozenset()

    def log(self, name: str) -> Path:
        """Return where the service `name` writes its log."""
        return self.path / "logs" / f"{name}.log"

    def write_env(self, values: Mapping[str, str]) -> Path:
        """Write `env`, KEY=value lines that a shell can source, readable by us only; return its path."""
        path = self.path / "env"
        write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))
        return path


def _check_name(path: Path) -> None:
    """Refuse a folder whose objects could not be named: a payload's URL and a list of prefixes know no escapes."""
    try:
        parse_prefix(f"file://{path}/objects/")
        wrong = "the path has the character ','" if "," in str(path) else ""
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise ServiceError(f"DATA_DIR: {wrong}: choose another folder than {str(path)!r}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only we may read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
