"""Checks that every handler's payload model can be imported with what the API's artifact carries.

Run in a process of its own that sees nothing but that artifact and the standard library.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import PackageError

_IMPORT = """
import importlib, json, os, sys, traceback
folder = sys.argv[1]
sys.path.insert(0, folder)
faults = []
for module in sys.argv[2:]:
    try:
        importlib.import_module(module)
    except BaseException as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(folder + os.sep)]
        at = f"{frames[-1].filename[len(folder) + 1:]}:{frames[-1].lineno}" if frames else ""
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        faults.append({"module": module, "missing": missing, "at": at, "error": f"{type(error).__name__}: {error}"})
print("\\n" + json.dumps(faults))
"""


def check(folder: Path, modules: Sequence[str]) -> None:
    """Import each of `modules` from `folder`; raises `PackageError` that names what pulls in what."""
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", _IMPORT, str(folder), *modules],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise PackageError(f"HANDLERS: importing them ended with status {run.returncode}:\n{run.stderr.strip()}")
    if faults := json.loads(run.stdout.splitlines()[-1]):
        raise PackageError("\n".join(_told(**fault) for fault in faults))


def _told(module: str, missing: str | None, at: str, error: str) -> str:
    if missing is None:
        return f"HANDLERS: {module} cannot be imported ({at}): {error}"
    if module == missing or module.startswith(f"{missing}."):
        return f"HANDLERS: there is no module {missing} in the folder where `sweephand package` is run"
    return (
        f"HANDLERS: {module} imports {missing} ({at}), which the API's artifact does not carry: import it inside "
        "the function that needs it, so that a payload can be checked without it"
    )
