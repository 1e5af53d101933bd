"""Which artifacts there are, what goes into each, and how one is built."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweephand.handlers.registry import BUILT_IN
from sweephand.layout import PACKAGE, ROOT

from . import archive, bytecode, import_check, locks, tree
from .errors import PackageError
from .target import Target

MB = 1_000_000
REQUIREMENTS = ROOT / "requirements"
FONTS = "sweephand/handlers/fonts/*"
_AWS = ("sweephand/infra/__init__.py", "sweephand/infra/aws/__init__.py")


@dataclass(frozen=True, slots=True)
class Kind:
    """An artifact as it is meant."""

    name: str
    requirements: Path
    paths: tuple[str, ...]
    """What of the project goes in, as `tree.copy_project` takes it."""
    goal: float
    """MB that its zip should stay below, without bytecode. A build that is above it says so."""
    wheels: bool = True
    """Whether the packages go in; Google's builder installs them from the list instead."""
    runs_handlers: bool = False
    """Whether handlers run there, and so what they import has to be there."""
    checks_payloads: bool = False
    """Whether every handler's payload model must be importable with nothing else installed."""


AWS = (
    Kind(
        "api",
        REQUIREMENTS / "aws-api.txt",
        ("sweephand", "sweephand/functions", *_AWS, "sweephand/infra/aws/api.py"),
        goal=6,
        checks_payloads=True,
    ),
    Kind(
        "tick",
        REQUIREMENTS / "aws-tick.txt",
        ("sweephand", FONTS, *_AWS, "sweephand/infra/aws/tick.py", "sweephand/infra/aws/metrics.py"),
        goal=40,
        runs_handlers=True,
    ),
)
GOOGLE = (
    Kind("api", REQUIREMENTS / "api.txt", ("main.py", "sweephand", "sweephand/functions"), goal=1, wheels=False),
    Kind(
        "tick",
        REQUIREMENTS / "tick.txt",
        ("main.py", "sweephand", "sweephand/functions", FONTS),
        goal=4,
        wheels=False,
        runs_handlers=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Built:
    """An artifact on disk."""

    kind: Kind
    target: Target
    file: Path
    compiled: int
    """How many modules have bytecode."""

    def __str__(self) -> str:
        """Say what it is: file, target, sizes against the goal, hash."""
        plain = archive.size_without_bytecode(self.file) / MB
        word = "within" if plain <= self.kind.goal else "ABOVE"
        size, unzipped = self.file.stat().st_size / MB, archive.unzipped_size(self.file) / MB
        lines = [
            str(self.file),
            f"  without bytecode {plain:.1f} MB, {word} the goal of {self.kind.goal:g} MB",
            f"  as it is {size:.1f} MB, unzipped {unzipped:.1f} MB",
            f"  sha256 {archive.sha256(self.file)}",
        ]
        if self.kind.wheels:
            none = f"  no bytecode: no python{self.target.python} is on PATH; cold starts take 2-3 times as long"
            lines[1:1] = [
                f"  for {self.target}",
                f"  bytecode of {self.compiled} modules" if self.compiled else none,
            ]
        return "\n".join(lines)


def build(  # noqa: PLR0913 - each is one part of the input, by name
    kind: Kind,
    target: Target,
    out: Path,
    *,
    handlers: Sequence[str] = (),
    source: Path | None = None,
    own_lock: Path | None = None,
) -> Built:
    """Write `kind`'s zip into `out` and return it.

    `handlers` are the modules of HANDLERS, whose files are taken from `source`, by default the current folder.
    `own_lock` is a lock file of further packages, for the artifact that runs handlers.
    Raises `PackageError`, and writes nothing then.
    """
    source = source or Path.cwd()
    with tempfile.TemporaryDirectory(prefix="sweephand-package-") as scratch:
        folder = Path(scratch) / "tree"
        lock = kind.requirements
        if own_lock is not None and kind.runs_handlers:
            lock = Path(scratch) / lock.name
            lock.write_text(locks.joined(kind.requirements, own_lock), "utf-8")
        _lay_out(kind, folder, handlers, source)
        compiled = 0
        if kind.wheels:
            tree.install(lock, folder, target)
            if kind.checks_payloads:
                # Another target's wheels cannot be imported here, so its check gets this machine's.
                importable = folder if target == Target.here() else Path(scratch) / "check"
                if importable != folder:
                    _lay_out(kind, importable, handlers, source)
                    tree.install(kind.requirements, importable, Target.here())
                import_check.check(importable, [*BUILT_IN, *handlers])
            interpreter = target.interpreter()
            compiled = bytecode.compile_folder(folder, interpreter) if interpreter else 0
        else:
            (folder / "requirements.txt").write_bytes(lock.read_bytes())
        file = out / f"{kind.name}.zip"
        archive.write(folder, file)
    return Built(kind, target, file, compiled)


def _lay_out(kind: Kind, folder: Path, handlers: Sequence[str], source: Path) -> None:
    tree.copy_handlers(handlers, source, folder)
    if clash := [path.name for path in folder.glob("*") if path.stem in ("main", PACKAGE.name)]:
        raise PackageError(f"HANDLERS: {', '.join(clash)} would replace a part of Sweephand: give it another name")
    tree.copy_project(kind.paths, folder)
