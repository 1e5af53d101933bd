"""`sweephand init`: writes a project that `sweephand dev`, `sweephand package` and the clouds' tools work in."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from sweephand.domain.errors import SweephandError
from sweephand.layout import ROOT
from sweephand.version import VERSION

TEMPLATES = Path(__file__).parents[1] / "templates"
NAMES = {"gitignore": ".gitignore"}
"""Templates whose own name would have an effect here."""
PROVISIONING = {"aws": ("*.js", "*.yml"), "gcp": ("*.tf",)}
"""What of `infra/` the clouds' tools read, by folder."""
CHANGES: Mapping[str, Mapping[str, str]] = {
    "serverless.yml": {
        "${env:HANDLERS, ''}": "${env:HANDLERS, 'handlers'}",
        "# infra/README.md says": "# README.md says",
        "`make package` must have been given the same HANDLERS": "`sweephand dev` and `package` read them here too",
    },
    "infra/gcp/gateway.tf": {
        'regex("VERSION = \\"([^\\"]+)\\"", file("${path.module}/../../shared/sweephand/version.py"))[0]': (
            json.dumps(VERSION)
        ),
    },
    "infra/gcp/main.tf": {"`make package-gcp`": "`sweephand package google`"},
    "requirements.txt": {"VERSION": VERSION},
}
"""What reads differently in a project of its own than in Sweephand's repository: by file, old text and new."""
NEXT = """
Next, in {folder}:

  sweephand dev        run everything on this machine
  pytest               test the example handler
  sweephand package    build what AWS runs; `sweephand package google` for Google Cloud

README.md tells how to deploy.
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write it; it is made if it is not there.")] = Path(),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Write infra/ anew, as this version has it, and nothing else.")
    ] = False,
) -> None:
    """Write a new project: an example handler with its test, and everything that deploys it.

    Existing files are not replaced without --force: nothing at all is written then.
    """
    files = {path: text for path, text in _project() if not upgrade or path.startswith("infra/")}
    taken = [path for path in files if (folder / path).exists()]
    if taken and not (force or upgrade):
        raise SweephandError(f"{', '.join(taken)}: already there, so nothing was written; --force replaces them.")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
        typer.echo(f"{'replaced' if path in taken else 'wrote'} {folder / path}")
    if not upgrade:
        typer.echo(NEXT.format(folder=folder.resolve()))


def _project() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each file."""
    for file in sorted(TEMPLATES.iterdir()):
        if file.is_file():
            yield _adapted(NAMES.get(file.name, file.name), file)
    yield _adapted("serverless.yml", ROOT / "serverless.yml")
    for name, patterns in PROVISIONING.items():
        for pattern in patterns:
            for file in sorted((ROOT / "infra" / name).glob(pattern)):
                yield _adapted(f"infra/{name}/{file.name}", file)


def _adapted(path: str, file: Path) -> tuple[str, str]:
    text = file.read_text("utf-8")
    for old, new in CHANGES.get(path, {}).items():
        assert old in text, f"{file} has changed: {old}"  # a test looks at each
        text = text.replace(old, new)
    return path, text
