"""Lays out an artifact's files in a folder: this project's, the users' handlers', and the wheels'."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from sweephand.layout import MAIN, PACKAGE, ROOT

from .errors import PackageError
from .target import Target, uv

BESIDE = frozenset({"functions", "infra", "requirements", "google"})
"""What lies beside the package in the repository, and in it in a wheel."""
CODE = frozenset({".py", ".lua"})
"""Suffixes of what runs; whatever else lies in a source folder is not ours to ship."""
BUILD_ONLY = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})
"""Files of a `.dist-info` that tell of the installation, and differ from machine to machine."""
SOURCES = frozenset({".c", ".h", ".pxd", ".pyi", ".pyx"})
"""Suffixes of what was compiled already, or only type checkers read."""


def copy_project(paths: Iterable[str], folder: Path) -> None:
    """Copy files, and folders' code, of the project, to where a wheel has them.

    `paths` are named as an artifact has them: `sweephand` (less what only a wheel has in it),
    `sweephand/functions`, `sweephand/infra/…`, `main.py`. A path that ends in `/*` copies everything in that
    folder, code or not.
    """
    for path in paths:
        name = path.removesuffix("/*")
        place = _place(name)
        for file in _files(place, everything=path != name):
            within = file.relative_to(place)
            if not (name == PACKAGE.name and within.parts[0] in BESIDE):
                _copy(file, folder / name / within)


def copy_handlers(modules: Iterable[str], source: Path, folder: Path) -> None:
    """Copy the top-level module or package of each dotted name from `source`, where it is found there.

    Not found there, it may come with the wheels; the import check tells.
    """
    for top in sorted({module.partition(".")[0] for module in modules} - {PACKAGE.name}):
        if not top.isidentifier():
            raise PackageError(f"HANDLERS: {top!r} is no module's name")
        if (file := source / f"{top}.py").is_file():
            _copy(file, folder / file.name)
        elif (package := source / top).is_dir():
            for each in sorted(package.rglob("*")):
                if each.is_file() and "__pycache__" not in each.parts:
                    _copy(each, folder / each.relative_to(source))


def install(requirements: Path, folder: Path, target: Target) -> None:
    """Install the locked wheels, each checked against its hash, and drop what is not needed to run."""
    run = subprocess.run(
        [
            *(uv(), "pip", "install", "-q", "--no-deps", "--require-hashes", "--link-mode", "copy"),
            *("--target", str(folder), "-r", str(requirements), *target.install_options()),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise PackageError(f"{requirements.name} cannot be installed for {target}:\n{run.stderr.strip()}")
    # Scripts name this machine's interpreter; the lock belongs to uv.
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for path in list(folder.rglob("*")):
        if path.name == "__pycache__":
            shutil.rmtree(path)
        elif (
            path.name == ".lock"
            or path.suffix in SOURCES
            or (path.parent.suffix == ".dist-info" and path.name in BUILD_ONLY)
        ):
            path.unlink()


def _place(name: str) -> Path:
    """Return where a path of an artifact lies in this project, be it the repository or a wheel."""
    if name == MAIN.name:
        return MAIN
    top, _, rest = name.partition("/")
    return ROOT / rest if rest.partition("/")[0] in BESIDE else PACKAGE.with_name(top) / rest


def _files(place: Path, *, everything: bool) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif everything:
        yield from (file for file in sorted(place.iterdir()) if file.is_file())
    elif place.is_dir():
        yield from (file for file in sorted(place.rglob("*")) if file.suffix in CODE)
    else:
        raise PackageError(f"{place} is missing")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
