"""The lines of handlers in the terminal."""

from pathlib import Path

from infra.local.serving.job_lines import JobLines, printable
from sweephand.adapters.label_output import label

JOB = "01a20beb-3fff-778c-a960-c59147d11b4d"


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
