"""The modules of handlers that `sweephand dev` serves: checked before they are, and looked at for changes."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ..services.service import ServiceError
from .function_server import environment


class HandlerFiles:
    """The files of the handlers in HANDLERS and of what they import, built-in ones and libraries left out."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """`env` is what the functions get beside our own environment."""
        self._env = env
        self._seen: dict[Path, tuple[int, int] | None] = {}

    def check(self) -> None:
        """Import them in a process of its own, with all settings; raises ServiceError with what is wrong."""
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
        # A handler's module may print as it is imported: ours is the last line.
        files = [Path(file) for file in json.loads(done.stdout.splitlines()[-1])]
        self._seen = {file: _stamp(file) for file in files}

    def changed(self) -> list[Path]:
        """Return those that have changed since the last look."""
        found = [file for file, stamp in self._seen.items() if _stamp(file) != stamp]
        for file in found:
            self._seen[file] = _stamp(file)
        return found


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
