"""Files, tests and SQL functions that the documents name exist."""

import re
from pathlib import Path

import pytest

from sweephand.layout import ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "infra/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
FOLDERS = "tests|shared|infra|functions|requirements|docs"
"""Folders of the repository, as the documents name paths in them."""
SQL = "".join(file.read_text() for file in sorted((ROOT / "infra/supabase/migrations").glob("*.sql")))
IN_SQL = set(
    re.findall(r"^create (?:function|procedure|table|view|type) ((?:sweephand|public)\.\w+)", SQL, re.MULTILINE)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_document_names_exists(page: Path) -> None:
    """A path of the repository that a document names between backquotes leads to a file or a folder."""
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_sql_name_in_a_document_is_in_the_migrations(page: Path) -> None:
    """Each SQL function, table or view that a document names is created by a migration."""
    text = page.read_text()
    rpcs = {f"public.{name}" for name in re.findall(r"\bsweephand_\w+_v1\b", text)}
    inner = set(re.findall(r"(?<![\w.])sweephand\.[a-z_]+\b(?!\.)", " ".join(_sql_of(text))))
    assert rpcs | inner <= IN_SQL


def test_every_defence_names_tests_that_exist() -> None:
    """Each row of the defences names a file, and words of the name of a test in it."""
    text = (ROOT / "docs/reliability.md").read_text()
    rows = text[text.index("| Without |") : text.index("## What is not promised")].splitlines()[2:]
    assert len(rows) > 60
    for row in rows:
        if not row:
            continue
        for path, words in re.findall(r"`(tests/[\w/.]+\.py)`: ([^;|]+)", row):
            tests = " ".join(re.findall(r"def test_(\w+)", (ROOT / path).read_text())).replace("_", " ")
            for each in words.split(","):
                assert each.strip().lower() in tests, (path, each)


def _sql_of(text: str) -> list[str]:
    """Return what a page has in backquotes and in blocks of SQL and Mermaid, without Python's `sweephand.…`."""
    quoted = re.findall(r"`(sweephand\.\w+(?:\(\))?)`", text)
    blocks = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    return [
        each for each in quoted if not re.match(r"sweephand\.(testing|layout|domain|app|dump|list)\b", each)
    ] + blocks
