"""The files of the handlers that `sweephand dev` serves: checks that they load, and sees when they change."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ..services.service import ServiceError
from .function_server import environment


class HandlerFiles:
    """The files of the modules in HANDLERS and of the modules that they import, without installed libraries."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """`env` holds the functions' settings, which they get beside our own environment."""
        self._env = env
        self._seen: dict[Path, tuple[int, int] | None] = {}

    def check(self) -> None:
        """Import them with all settings, in a process of its own. Raises ServiceError with the reason it fails."""
        done = subprocess.run(
            [sys.executable, "-m", f"{__package__}.check_handlers"],
            env=environment(self._env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServiceError((done.stderr.strip().splitlines() or ["the settings cannot be checked"])[-1])
        # A handler's module may print when it is imported. Our line is the last.
        files = [Path(file) for file in json.loads(done.stdout.splitlines()[-1])]
        self._seen = {file: _state(file) for file in files}

    def changed(self) -> list[Path]:
        """Return the files that have changed since the last call."""
        found = [file for file, state in self._seen.items() if _state(file) != state]
        for file in found:
            self._seen[file] = _state(file)
        return found


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
