"""How root steps down for PostgreSQL, which refuses to run as root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from infra.local.service import ServiceError


@dataclass(frozen=True, slots=True)
class StepDown:
    """As whom a program runs, and from which copy of its installation."""

    installation: Path
    uid: int | None = None
    """The other user, None where we are no root and stay ourselves."""
    prefix: tuple[str, ...] = ()
    """The helper program, with arguments, that steps down and then becomes the real one."""

    @property
    def plain(self) -> bool:
        """Whether the starter itself has to change the uid, for want of a helper."""
        return self.uid is not None and not self.prefix

    def give(self, path: Path) -> None:
        """Make the program's user the owner of `path`."""
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)


def step_down(data: Path, installation: Path) -> StepDown:
    """Decide how PostgreSQL with its files in `installation` and its `data` runs for the user we are.

    As root: as the owner of `data`, or nobody. Both folders may lie in a home that only root may enter, so
    the program keeps root's right to pass folders where `setpriv` can arrange it; the program does not
    look at capabilities, only at its uid. Without it `data` has to be within reach, and an installation
    that is not is copied beside it.

    Raises ServiceError when `data` is another user's, or out of reach.
    """
    if os.geteuid() != 0:
        if data.exists() and data.stat().st_uid != os.geteuid():
            raise ServiceError(f"{data} is uid {data.stat().st_uid}'s: start as that user, or set DATA_DIR")
        return StepDown(installation)
    uid = (data.stat().st_uid if data.exists() else 0) or _nobody()
    if data.exists() and data.stat().st_uid == 0:
        _give_tree(data, uid)
    prefix = _setpriv(uid)
    if _works((*prefix, str(installation / "bin" / "postgres"), "--version"), None) and prefix:
        return StepDown(installation, uid, prefix)
    if not _works(("test", "-x", str(data.parent)), uid):
        raise ServiceError(
            f"PostgreSQL does not run as root, and uid {uid} cannot reach {data.parent}: "
            "set DATA_DIR to a folder outside of root's home, such as /var/tmp/minutehand",
        )
    if not _works((str(installation / "bin" / "postgres"), "--version"), uid):
        installation = _copy_for_all(installation, data.parent)
    return StepDown(installation, uid)


def _nobody() -> int:
    # By name: the number differs between systems, and initdb wants a user that is listed.
    return pwd.getpwnam("nobody").pw_uid


def _setpriv(uid: int) -> tuple[str, ...]:
    program = shutil.which("setpriv")
    if program is None:
        return ()
    rights = "+dac_override,+dac_read_search"
    return (
        program,
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        f"--inh-caps={rights}",
        f"--ambient-caps={rights}",
        "--",
    )


@cache
def _works(command: tuple[str, ...], uid: int | None) -> bool:
    try:
        done = subprocess.run(
            command,
            cwd="/",
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
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


def _copy_for_all(installation: Path, folder: Path) -> Path:
    """Copy the installation into `folder`, where every user may read it; keep the copy for the next start."""
    package = installation.parent
    version = (installation / "bin" / "postgres").stat().st_mtime_ns
    target = folder / f"postgres-program-{version}"
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(dir=folder))
        # The programs find the wheel's libraries by their place beside the package.
        for part in (installation, package.with_name(package.name + ".libs")):
            if part.exists():
                shutil.copytree(part, fresh / part.relative_to(package.parent), symlinks=True)
        fresh.chmod(0o755)
        fresh.rename(target)
    return target / installation.relative_to(package.parent)
