"""Mail into a folder, for development and tests."""

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult

from sweephand.handlers.mail.outgoing import OutgoingMail

MAX_STEM = 100
"""How much of the Message-ID goes into a file's name, in characters."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """A folder that gets one `.eml` file for each message, named after its Message-ID and attempt."""

    folder: Path

    @classmethod
    def from_url(cls, url: SplitResult) -> "Outbox":
        """Read `file:///folder`. Raises `ValueError` for a URL with a host, a query or no path."""
        if url.netloc or url.query or url.fragment or url.path in ("", "/"):
            raise ValueError("MAIL_URL for a folder is file:///folder")
        return cls(Path(url.path))

    def deliver(self, mail: OutgoingMail, /) -> str:
        """Write `mail` under its final name in one step. The same attempt again replaces its own file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(mail.body)
            Path(temporary).replace(self.folder / _file_name(mail))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return mail.message_id


def _file_name(mail: OutgoingMail) -> str:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", mail.message_id.strip("<>").partition("@")[0])[:MAX_STEM]
    return f"{stem or 'message'}-{mail.attempt:04}.eml"
