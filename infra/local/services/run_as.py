"""Which user PostgreSQL runs as, and how that user reaches programs and data: PostgreSQL refuses to run as root."""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .service import ServiceError

PROGRAMS = Path("/var/tmp")  # noqa: S108 - a copy there is checked before it is used
"""Where we copy programs that their user cannot read in place. Unlike /tmp it is never mounted `noexec`."""
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user that a program runs as, and the installation that it uses. It keeps none of root's rights."""

    installation: Path
    uid: int | None = None
    """The other user, None where we are not root and run it ourselves."""
    passes_open_folder: bool = False
    """Whether that user cannot reach the data by its path, and inherits it as an open folder."""

    def chown(self, path: Path) -> None:
        """Make the program's user the owner of `path`."""
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)

    @contextmanager
    def path_for(self, folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the path by which the program finds `folder`, and the descriptors that its start has to pass on.

        Linux lets a process follow `/proc/self/fd/…` into a folder that it inherited, whatever lies above.
        """
        if not self.passes_open_folder:
            yield str(folder), ()
            return
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{handle}", (handle,)
        finally:
            os.close(handle)


def run_as(data: Path, installation: Path) -> RunAs:
    """Decide which user runs the PostgreSQL in `installation` over `data`, and how that user reaches both.

    When we are root, that is the owner of `data`, or nobody. Both folders may lie in a home that only root may
    enter. The program then inherits the data as an open folder, where the system allows that. The programs are
    copied: `initdb` checks their path with access(2), so an open folder would not do.

    Raises ServiceError when `data` belongs to another user or is out of reach.
    """
    if os.geteuid() != 0:
        if data.exists() and data.stat().st_uid != os.geteuid():
            raise ServiceError(f"{data} is uid {data.stat().st_uid}'s: start as that user, or set DATA_DIR")
        return RunAs(installation)
    uid = (data.stat().st_uid if data.exists() else 0) or _nobody()
    if data.exists() and data.stat().st_uid == 0:
        _give_tree(data, uid)
    unreachable = not _works(("test", "-x", str(data.parent)), uid)
    if unreachable and sys.platform != "linux":
        raise ServiceError(
            f"PostgreSQL does not run as root, and uid {uid} cannot reach {data.parent}: "
            "set DATA_DIR to a folder outside of root's home, such as /var/tmp/sweephand",
        )
    if not _works((str(installation / "bin" / "initdb"), "--version"), uid):
        installation = readable_copy(installation)
    return RunAs(installation, uid, passes_open_folder=unreachable)


def _nobody() -> int:
    # By name: the number differs between systems, and initdb needs a user that has a name.
    return pwd.getpwnam("nobody").pw_uid


@cache
def _works(command: tuple[str, ...], uid: int) -> bool:
    try:
        done = subprocess.run(
            command,
            cwd="/",
            user=uid,
            group=uid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _give_tree(folder: Path, uid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def readable_copy(installation: Path, folder: Path = PROGRAMS) -> Path:
    """Return a copy of `installation` below `folder` that every user may read and only root may change.

    Its name is a digest of its content, so a copy serves until the programs change. A copy that somebody else put
    there in advance, or could write into, is replaced: root would not run it, but PostgreSQL's user would.
    """
    package = installation.parent
    # The programs find the wheel's libraries by their place beside the package.
    parts = [part for part in (installation, package.with_name(package.name + ".libs")) if part.exists()]
    target = folder / f"sweephand-postgresql-{_content(parts)}"
    if not _is_ours_alone(target):
        fresh = Path(tempfile.mkdtemp(dir=folder, prefix="sweephand-"))
        try:
            for part in parts:
                shutil.copytree(part, fresh / part.relative_to(package.parent), symlinks=True)
            _open_to_read(fresh)
            _remove(target)
            fresh.rename(target)
        except OSError:
            if not _is_ours_alone(target):  # otherwise another start has just made the same copy
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target / installation.relative_to(package.parent)


def _content(parts: list[Path]) -> str:
    """Return a digest of every file's name, mode and content below `parts`."""
    digest = hashlib.sha256()
    for part in parts:
        for path in sorted(part.rglob("*")):
            digest.update(f"{path.relative_to(part)}\0{path.lstat().st_mode}\0".encode())
            if path.is_symlink():
                digest.update(os.readlink(path).encode())  # noqa: PTH115 - as text
            elif path.is_file():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]


def _is_ours_alone(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & OTHERS_WRITE


def _open_to_read(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runs else 0o644)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
