"""The guide to handlers, docs/handlers.md: what it shows is done as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from sweephand.layout import ROOT

GUIDE = (ROOT / "docs/handlers.md").read_text()
BLOCKS = re.findall(r"```python\n(.+?)```", GUIDE, re.DOTALL)


def block(marker: str) -> str:
    """Return the one block of Python that holds `marker`."""
    [found] = [text for text in BLOCKS if marker in text]
    return str(found)


def test_its_examples_run(tmp_path: Path) -> None:
    """The guide's handler, its two tests and its fixture, saved as it says, pass together."""
    (tmp_path / "handlers.py").write_text(block("payload=Greeting, timeout=10"))
    (tmp_path / "conftest.py").write_text(block("# conftest.py"))
    (tmp_path / "test_greet.py").write_text(block("def test_greet") + "\n\n" + block("def test_it_runs_tomorrow"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout


def test_its_upgrade_upgrades(tmp_path: Path) -> None:
    """The guide's upgrade lets a payload of then, and one of today, run by today's handler."""
    begin = block("payload=Greeting, timeout=10").partition("@handler")[0]
    (tmp_path / "handlers.py").write_text(
        begin + block("def upgrade").replace(": ...", ":\n    return payload.model_dump()")
    )
    code = (
        "from handlers import greet\nfrom sweephand.testing import run\n"
        "print(run(greet, {'full_name': 'a'}).result, run(greet, {'name': 'a'}).result)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "{'name': 'a'} {'name': 'a'}\n", done.stderr
