"""What the README shows, done as it stands there."""

import json
import re
import uuid
from pathlib import Path

import pytest

from infra.local.services.services import Services
from sweephand import app
from tests.tick.conftest import forget

README = (Path(__file__).parents[2] / "README.md").read_text()


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
    """Each variable that the settings read has a row in the README's table."""
    source = (Path(__file__).parents[2] / "shared" / "sweephand" / "settings.py").read_text()
    names = set(re.findall(r'"([A-Z][A-Z_]{3,})"', source))
    table = README[README.index("## Configuration") :]
    assert {name for name in names if f"`{name}`" not in table} == set()


def test_every_command_is_one_of_the_makefile() -> None:
    """Each `make` command that the documents name is there."""
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    documents = README + (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"`make ([a-z-]+)", documents)) <= targets


def test_the_sample_request_is_json() -> None:
    """The curl of the README carries a body that is JSON."""
    found = re.search(r"-d '(\{.+?\})'\n", README)
    assert found is not None
    assert json.loads(found[1])["type"] == "email_notification"
