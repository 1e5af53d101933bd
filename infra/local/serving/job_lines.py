"""Shows the lines that handlers print and log in the terminal, each with its job's id."""

import re
from collections.abc import Callable
from pathlib import Path

LINE = re.compile(r"\[job ([0-9a-f-]{36})\] (.*)")
CHUNK = 256 * 1024
"""Bytes that one `poll` reads at most."""


class JobLines:
    """Follows the tick server's log, beginning at its present end."""

    def __init__(self, log: Path, say: Callable[[str], None]) -> None:
        self._log, self._say = log, say
        self._at = log.stat().st_size if log.exists() else 0
        self._rest = b""

    def poll(self) -> None:
        """Show the lines that handlers have written since the last `poll`."""
        try:
            with self._log.open("rb") as log:
                if log.seek(0, 2) < self._at:  # the file begins anew
                    self._at, self._rest = 0, b""
                log.seek(self._at)
                data = log.read(CHUNK)
        except OSError:
            return
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if found := LINE.match(line.decode(errors="replace")):
                self._say(f"job {found[1]}: {printable(found[2])}")


def printable(text: str) -> str:
    """Return `text` with each unprintable character as an escape: it could move a terminal's cursor."""
    return "".join(char if char.isprintable() or char == "\t" else ascii(char)[1:-1] for char in text)
