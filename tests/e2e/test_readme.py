"""What the README shows, done as it stands there."""

import json
import re
import uuid
from pathlib import Path

import pytest

from infra.local.services.services import Services
from sweephand import app
from sweephand.layout import ROOT
from tests.tick.conftest import forget

README = (ROOT / "README.md").read_text()


def test_the_example_handler_runs(clean: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's own handler, saved as it says and named in HANDLERS, runs a job."""
    found = re.search(r"```python\n# greetings.py\n(.+?)```", README, re.DOTALL)
    assert found is not None
    (tmp_path / "greetings.py").write_text(found[1])
    monkeypatch.syspath_prepend(tmp_path)
    for name, value in {**clean.env, "HANDLERS": "greetings"}.items():
        monkeypatch.setenv(name, value)
    forget()
    job, _ = app.creator()({"type": "greet", "payload": {"name": "Ada"}}, "test")
    app.run(app.tick(linger=0))
    done = app.record().get(uuid.UUID(str(job["id"])))
    assert done is not None
    assert (done["status"], done["result"]) == ("completed", {"said": "Hello, Ada!"})
    app.close()
    forget()


def test_every_setting_is_in_the_table() -> None:
    """Each variable that the settings read is in the table of docs/settings.md, and so is each of the README."""
    source = (ROOT / "shared/sweephand/settings.py").read_text()
    names = set(re.findall(r'"([A-Z][A-Z_]{3,})"', source))
    table = (ROOT / "docs/settings.md").read_text()
    assert {name for name in names if f"`{name}`" not in table} == set()
    shown = README[README.index("## Settings") :].partition("\n## ")[0]
    rows = [row.split("|")[1] for row in shown.splitlines() if row.startswith("| `")]
    assert rows
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} <= set(re.findall(r"`([A-Z_]+)`", table))


def test_it_can_be_read_in_five_minutes() -> None:
    """The README has at most 1,200 words."""
    assert len(README.split()) <= 1200


def test_every_page_that_the_documents_link_is_there() -> None:
    """Links between the documents lead to files."""
    for page in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "infra/README.md",
        *(ROOT / "docs").glob("*.md"),
    ):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_every_command_is_one_of_the_makefile() -> None:
    """Each `make` command that the documents name is there."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    pages = [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    documents = README + "".join(page.read_text() for page in pages)
    assert set(re.findall(r"`make ([a-z-]+)", documents)) <= targets


def test_the_sample_request_is_json() -> None:
    """The curl of the README carries a body that is JSON."""
    found = re.search(r"-d '(\{.+?\})'\n", README)
    assert found is not None
    assert json.loads(found[1])["type"] == "email_notification"
