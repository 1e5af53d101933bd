"""docs/schedules.md: its examples do what it says."""

import json
import re
from pathlib import Path

from infra.cli.apply_schedules import read
from sweephand.domain.schedule_request import new_schedule
from sweephand.handlers import registry
from sweephand.layout import ROOT
from tests.schedules.conftest import START, Schedules

TEXT = (ROOT / "docs/schedules.md").read_text()
BUILT_IN = registry.load([])


def blocks(language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_the_body_of_the_first_example_is_taken() -> None:
    """The first request's body is a schedule whose template its handler takes."""
    body = re.search(r"-d '(.*?)'$", blocks("sh")[0], re.DOTALL | re.MULTILINE)
    assert body
    assert new_schedule(json.loads(body[1]), BUILT_IN).name == "nightly-report"


def test_the_list_is_taken(tmp_path: Path) -> None:
    """The list of the example can be applied, and every template in it is one."""
    file = tmp_path / "schedules.yml"
    [text] = blocks("yaml")
    file.write_text(text)
    listed = read(file)
    assert listed.source == "reports"
    made = [new_schedule(dict(each), BUILT_IN).name for each in listed.schedules.values()]
    assert made == ["nightly-report"]


def test_the_sql_does_what_it_says(schedules: Schedules) -> None:
    """The statements insert, pause, change and resume, show, and delete a schedule, each as it stands there."""
    insert, pause, resume, show, delete = (part for part in blocks("sql")[0].split(";\n") if part.strip())
    schedules.sql.execute(insert)
    schedules.look()
    assert schedules.row("nightly-report")["next_fire"] == "2026-06-02T00:30:00+00:00"
    schedules.sql.execute(pause)
    assert schedules.look() == 0
    schedules.sql.execute(resume)
    schedules.look()
    row = schedules.sql.execute(show).fetchone()
    assert row
    assert (row[0] - START).total_seconds() == (12 * 60 + 45) * 60
    assert row[1:] == (None, 0, {}, None)
    schedules.sql.execute(delete)
    assert schedules.sql.execute("select count(*) from sweephand.schedules").fetchone() == (0,)
