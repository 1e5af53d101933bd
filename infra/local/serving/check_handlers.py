"""Checks settings and handlers before anything is started, by making all that the functions make of them.

Run as a module, it prints the handlers' files as JSON, or ends with status 1 after one line that names the mistake.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sweephand import app
from sweephand.domain.errors import ConfigError, SweephandError

from ..external_services import NAMES

MIN_LENGTH = 7
"""Letters that a setting's name needs for us to look for misspellings: shorter names may be another program's."""


def misspelt(env: Iterable[str]) -> Mapping[str, str]:
    """Return the names that are one letter, or two swapped letters, off a setting's name, each with that name."""
    ours = [name for name in NAMES if len(name) >= MIN_LENGTH]
    found = {}
    for name in env:
        if name not in NAMES and (near := next((each for each in ours if _is_one_letter_off(name, each)), None)):
            found[name] = near
    return found


def _is_one_letter_off(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), -1)
    start = min(len(one), len(other)) if start < 0 else start
    a, b = one[start:], other[start:]
    return b in (a[1:], a[1::-1] + a[2:]) or a == b[1:] or (a != b and a[1:] == b[1:])


def check(env: Mapping[str, str] = os.environ) -> list[str]:
    """Make all that the functions make of their settings. Return the files of the handlers and of their imports.

    Raises ConfigError, which names the setting or the file.
    """
    for name, meant in misspelt(env).items():
        raise ConfigError(f"{name} is no setting: is {meant} meant?")
    app.settings()
    before = set(sys.modules)
    app.handlers()
    files = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before]
    app.tick(0)  # and HTTP_ALLOW, HTTP_CA_FILE, WEBHOOK_SIGNING_KEYS
    app.http().tls()
    for name, make in (
        ("MAIL_URL", app.mailer),
        ("STORAGE_PREFIXES", app.objects),
        ("DRAINERS_URL", app.drainers),
    ):
        try:
            make()
        except (ValueError, TypeError) as e:
            message = str(e)
            raise ConfigError(message if name.partition("_")[0] in message else f"{name}: {message}") from e
    if app.settings().wake_url:
        app.tick_trigger()
    return sorted(str(Path(file)) for file in files if file and "site-packages" not in file)


def main() -> int:
    """Check the environment; return the exit status."""
    try:
        files = check()
    except SweephandError as e:
        print(str(e), file=sys.stderr)
        return 1
    print(json.dumps(files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
