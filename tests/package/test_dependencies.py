"""Every package that the code imports is one that it declares."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from sweephand.layout import ROOT

OURS = frozenset({"sweephand", "functions", "infra"})
DISTRIBUTIONS = packages_distributions()
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARTS = {
    "functions": ("functions", ()),
    "handlers": ("shared/sweephand/handlers", ("tick", "aws-runtime")),
    "adapters": ("shared/sweephand/adapters", ("direct",)),
    "package": ("shared/sweephand", ("tick", "direct", "aws-runtime")),
    "aws": ("infra/aws", ("aws",)),
    "infra": ("infra", ("local", "direct", "tick", "aws")),
}
"""Folders, and the extras that whoever runs their code has installed."""
GIVEN = {"aws-runtime": {"boto3", "botocore"}}
"""What AWS Lambda brings along, and the `local` extra elsewhere."""


def name_of(requirement: str) -> str:
    """Return a requirement's distribution, in its normal form."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def declared(extras: tuple[str, ...]) -> set[str]:
    """Return the distributions of the package and of these extras."""
    lists = [DECLARED["dependencies"], *(DECLARED["optional-dependencies"].get(extra, ()) for extra in extras)]
    given = {each for extra in extras for each in GIVEN.get(extra, ())}
    return {name_of(each) for names in lists for each in names} | given


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the top-level name of each absolute import that is not for type checkers alone, and where it stands."""
    for file in folder.rglob("*.py"):
        if "templates" in file.parts:
            continue
        tree = ast.parse(file.read_text())
        typing_only = {
            id(each)
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for each in ast.walk(block)
        }
        for node in ast.walk(tree):
            if id(node) in typing_only:
                continue
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            for name in names:
                yield name.partition(".")[0], str(file.relative_to(ROOT))


@pytest.mark.parametrize("part", PARTS)
def test_every_import_is_declared(part: str) -> None:
    """No module imports a package that only another package's requirement brings."""
    folder, extras = PARTS[part]
    allowed = declared(extras)
    missing = {
        f"{place} imports {name}"
        for name, place in imported(ROOT / folder)
        if name not in sys.stdlib_module_names
        and name not in OURS
        and not {name_of(each) for each in DISTRIBUTIONS.get(name, ())} & allowed
    }
    assert missing == set()


def test_the_check_sees_what_is_missing() -> None:
    """The check would find a package that is imported and not declared."""
    names = {name for name, _ in imported(ROOT / "shared/sweephand/handlers/pdf")}
    assert "markdown_it" in names
    assert "markdown-it-py" in declared(("tick",)) - declared(())


def test_the_local_extra_suffices() -> None:
    """`pip install 'sweephand[local]'` brings what the handlers and every command import."""
    [own] = [each for each in DECLARED["optional-dependencies"]["local"] if each.startswith("sweephand[")]
    extras = tuple(own.partition("[")[2].rstrip("]").split(","))
    everything = declared(("local", *extras)) - {"sweephand"}
    assert everything >= declared(("tick", "direct", "aws-runtime")) | {"uv", "typer", "pyyaml"}
