"""Lock files: the packages of an artifact, each at one version and with its hashes."""

import re
from collections.abc import Mapping
from pathlib import Path

from .errors import PackageError

_PINNED = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")


def joined(ours: Path, own: Path) -> str:
    """Return the lock of an artifact that has a project's `own` packages beside ours.

    A package of both stands once. Raises `PackageError` for an entry of `own` that has no version or no hash, and
    for one whose version differs from ours.
    """
    have = _entries(ours, ours)
    lines = [ours.read_text("utf-8").rstrip()]
    for name, found in _entries(own, ours).items():
        for version, text in found.items():
            if name not in have:
                lines.append(text)
            elif version not in have[name]:
                versions = " or ".join(have[name])
                raise PackageError(f"{own}: {name}=={version}, but Sweephand has {versions}. {_how(ours, own)}")
    return "\n".join(lines) + "\n"


def _entries(file: Path, ours: Path) -> Mapping[str, Mapping[str, str]]:
    """Return each package's text by its name and version: a universal lock may have several versions of one."""
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise PackageError(f"{file}: {error.strerror}") from None
    found: dict[str, dict[str, str]] = {}
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for entry in re.split(r"\n(?=\S)", "\n".join(lines)) if lines else ():
        pinned = _PINNED.match(entry)
        if pinned is None or "--hash=" not in entry:
            raise PackageError(f"{file}: {entry.split()[0]} lacks a version or hashes. {_how(ours, file)}")
        name = re.sub(r"[-_.]+", "-", pinned[1]).lower()
        found.setdefault(name, {})[pinned[2]] = entry
    return found


def _how(ours: Path, own: Path) -> str:
    source = own.with_suffix(".in")
    return f"Make it with `uv pip compile --universal --generate-hashes -c {ours} {source} -o {own}`"
