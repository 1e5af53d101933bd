"""Finds functions, infra and serverless.yml: beside the package in the repository, inside it in a wheel."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent
"""The folder of the package itself."""
INSIDE = (PACKAGE / "functions").is_dir() or (PACKAGE / "infra").is_dir()
"""Whether this is a wheel's or an artifact's layout, in which everything lies in the package."""
ROOT = PACKAGE if INSIDE else PACKAGE.parents[1]
"""The folder with `functions/`, `infra/`, `requirements/` and `serverless.yml`."""
MAIN = ROOT / "google" / "main.py" if INSIDE else ROOT / "main.py"
"""The file that exports every function by its name. In a wheel it has a folder of its own: functions-framework
appends the file's folder to `sys.path`, and a module of the package must not become importable by a second name."""


def module(name: str) -> ModuleType:
    """Return a module of `functions` or `infra`, named from there: `"infra.cli.main"`."""
    inside = f"{__package__}.{name}"
    top = ".".join(inside.split(".")[:2])
    return import_module(inside if find_spec(top) else name)
