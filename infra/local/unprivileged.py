"""How root steps down for a program that refuses to run as root."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from infra.local.service import ServiceError

NOBODY = 65534
"""The uid that owns nothing, on Linux and the BSDs."""


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
    """Decide how a program with its files in `installation` and its `data` runs for the user we are.

    As root: as the owner of `data`, or nobody. Both folders may lie in a home that only root may enter, so
    the program keeps root's right to pass folders where `setpriv` can arrange it; the program does not
    look at capabilities, only at its uid. Without it the installation is copied to a folder open to all,
    and `data` has to be within reach.

    Raises ServiceError when `data` is another user's, or out of reach.
    """
    if os.geteuid() != 0:
        if data.exists() and data.stat().st_uid != os.geteuid():
            raise ServiceError(f"{data} is uid {data.stat().st_uid}'s: start as that user, or set DATA_DIR")
        return StepDown(installation)
    uid = (data.stat().st_uid if data.exists() else 0) or NOBODY
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
        installation = _copy_for_all(installation)
    return StepDown(installation, uid)


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


def _copy_for_all(installation: Path) -> Path:
    """Copy the installation to a new folder under the temporary one that every user may read."""
    target = Path(tempfile.mkdtemp(prefix="minutehand-postgres-"))
    target.chmod(0o755)
    return shutil.copytree(installation, target / "pginstall", symlinks=True)
