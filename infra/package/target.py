"""Which interpreter and machine an artifact is for, and how to find such an interpreter here."""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import PackageError

ARCHITECTURES = {"x86_64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
"""Lambda's names, and uv's for wheels that run on Amazon Linux 2023 (glibc 2.34) and on any Linux since 2018."""


@dataclass(frozen=True, slots=True)
class Target:
    """A minor version of CPython, as `3.13`, and a machine; no machine stands for this one."""

    python: str
    arch: str | None = None

    @classmethod
    def here(cls) -> "Target":
        """Return the interpreter that runs this, on this machine."""
        return cls(f"{sys.version_info.major}.{sys.version_info.minor}")

    def __str__(self) -> str:
        """Say it as `python3.13 x86_64`."""
        return f"python{self.python} {self.arch or platform.machine()}"

    def install_options(self) -> list[str]:
        """Return what tells uv to take this target's wheels. Nothing is built: a missing wheel is an error."""
        if self.arch is None:
            return ["--python", sys.executable]
        return [
            *("--python-version", self.python, "--python-platform", ARCHITECTURES[self.arch]),
            *("--only-binary", ":all:"),
        ]

    def interpreter(self) -> str | None:
        """Return an interpreter of this minor version that is at hand, on whatever machine, or None."""
        if self == Target.here() or self.python == Target.here().python:
            return sys.executable
        found = shutil.which(f"python{self.python}")
        # pyenv's stand-in starts only versions that it is told to.
        env = {**os.environ, "PYENV_VERSION": self.python}
        if found and _says(found, self.python, env):
            return _executable(found, env)
        return None


def uv() -> str:
    """Return the `uv` beside this interpreter, or on PATH; raises `PackageError`."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise PackageError("uv is not installed: `pip install uv`, which the `local` extra brings")
    return found


def _says(python: str, version: str, env: dict[str, str]) -> bool:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    run = subprocess.run([python, "-c", code], env=env, capture_output=True, text=True, check=False)
    return run.returncode == 0 and run.stdout.strip() == version


def _executable(python: str, env: dict[str, str]) -> str:
    code = "import sys; print(sys.executable)"
    return subprocess.run([python, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.strip()
