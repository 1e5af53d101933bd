"""Looks at settings and handlers as a function would, before anything is started.

Run as a module, it prints the handlers' files as JSON; or, with status 1, one line that says what is wrong.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sweephand import app
from sweephand.domain.errors import ConfigError, SweephandError

from ..dev_env import NAMES

LEAST = 7
"""Letters from which on a name is taken for a misspelt one of ours: shorter ones may well be another program's."""


def misspelt(env: Iterable[str]) -> Mapping[str, str]:
    """Return the names that are one letter, or two that changed places, away from a setting's, each with that."""
    ours = [name for name in NAMES if len(name) >= LEAST]
    found = {}
    for name in env:
        if name not in NAMES and (near := next((each for each in ours if _one_off(name, each)), None)):
            found[name] = near
    return found


def _one_off(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), -1)
    start = min(len(one), len(other)) if start < 0 else start
    a, b = one[start:], other[start:]
    return b in (a[1:], a[1::-1] + a[2:]) or a == b[1:] or (a != b and a[1:] == b[1:])


def check(env: Mapping[str, str] = os.environ) -> list[str]:
    """Make what the functions make of their settings; return the files of the handlers and of what they import.

    Raises ConfigError, which names the setting or the file.
    """
    for name, meant in misspelt(env).items():
        raise ConfigError(f"{name} is no setting: is {meant} meant?")
    app.settings()
    before = set(sys.modules)
    app.handlers()
    files = [getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before]
    app.tick(0)
    for name, make in (
        ("MAIL_URL", app.mailer),
        ("STORAGE_PREFIXES", app.objects),
        ("DRAINERS_URL", app.drainers),
    ):
        try:
            make()
        except (ValueError, TypeError) as e:
            said = str(e)
            raise ConfigError(said if name.partition("_")[0] in said else f"{name}: {said}") from e
    if app.settings().wake_url:
        app.tick_trigger()
    return sorted(str(Path(file)) for file in files if file and "site-packages" not in file)


def main() -> int:
    """Check; return the exit status."""
    try:
        files = check()
    except SweephandError as e:
        print(str(e), file=sys.stderr)
        return 1
    print(json.dumps(files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
