"""What `sweephand dev` says of names, lines and proxies."""

from pathlib import Path

import pytest

from infra.local.dev_env import NAMES
from infra.local.serving.check_handlers import misspelt
from infra.local.serving.job_lines import JobLines, printable
from sweephand.adapters.running_jobs import label
from sweephand.settings import without_proxies

JOB = "01a20beb-3fff-778c-a960-c59147d11b4d"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAIL_ULR", "MAIL_URL"),
        ("MAIL_UR", "MAIL_URL"),
        ("MAIL_URLS", "MAIL_URL"),
        ("NAIL_URL", "MAIL_URL"),
        ("STORAGE_PREFIXE", "STORAGE_PREFIXES"),
        ("REDIS_URI", "REDIS_URL"),
    ],
)
def test_a_name_one_letter_off_is_found(name: str, meant: str) -> None:
    """A letter that is missing, too many, another, or in its neighbour's place."""
    assert misspelt([name, *NAMES]) == {name: meant}


@pytest.mark.parametrize("name", ["PATH", "HOME", "STORES", "SHELL", "MAIL", "EMAIL_URLS", "HANDLE", "LIRU_MAIL"])
def test_other_programs_names_are_left_alone(name: str) -> None:
    """What is further off, or too short to tell, is no mistake."""
    assert misspelt([name]) == {}


def test_lines_of_jobs_are_told_apart(tmp_path: Path) -> None:
    """From the log on, whole lines of jobs are said, also when they come in pieces; no others."""
    log, said = tmp_path / "tick.log", list[str]()
    log.write_text(label(JOB, "old"))
    lines = JobLines(log, said.append)
    with log.open("a") as more:
        more.write(label(JOB, "hello") + "something else\n" + label(JOB, "wor")[:-1])
        more.flush()
        lines.poll()
        assert said == [f"job {JOB}: hello"]
        more.write("ld\n")
    lines.poll()
    assert said[1:] == [f"job {JOB}: world"]


def test_nothing_moves_the_terminal() -> None:
    """Escapes, controls and marks of direction are written out; letters of any script stay."""
    assert printable("Größe\t\x1b[2J\x07\u202e\x9b") == "Größe\t\\x1b[2J\\x07\\u202e\\x9b"


@pytest.mark.parametrize(
    ("env", "merged"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "corp.example, localhost"}, "corp.example,localhost,127.0.0.1,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,localhost,127.0.0.1,::1"),
    ],
)
def test_no_proxy_leads_to_this_machine(env: dict[str, str], merged: str) -> None:
    """What the shell excludes stays excluded, and this machine with it."""
    assert without_proxies(env) == {"no_proxy": merged, "NO_PROXY": merged}
