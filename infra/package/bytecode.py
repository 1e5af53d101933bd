"""Compiles a folder for an interpreter, so that a cold start has only to load.

Unchecked (PEP 552): the archive's times mean nothing, and nobody edits it. One process compiles everything in one
order with one hash seed, as the order of what is interned shows in the bytes.
"""

import os
import subprocess
from pathlib import Path

from .errors import PackageError

_COMPILE = """
import compileall, py_compile, sys
done = compileall.compile_dir(
    sys.argv[1], quiet=2, force=True, maxlevels=50, stripdir=sys.argv[1], prependdir="/var/task",
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
"""


def compile_folder(folder: Path, interpreter: str) -> int:
    """Write a `.pyc` for every module below `folder`; return how many. What does not compile stays source."""
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    run = subprocess.run(
        [interpreter, "-I", "-S", "-c", _COMPILE, str(folder)], env=env, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise PackageError(f"{interpreter} cannot compile: {run.stderr.strip()}")
    return sum(1 for _ in folder.rglob("*.pyc"))
