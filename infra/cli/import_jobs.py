"""`sweephand jobs import`: create the jobs of a file in batches. A person can cut it off and run it again."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from sweephand.domain.errors import ConfigError, SweephandError

from .jobs import LOCAL, Key, Url, authorization, problem_text

BATCH = 1000
"""Most jobs of one request."""
BATCH_BYTES = 3 * 1024 * 1024
"""Most bytes of one request; the API takes 4 MiB."""
WAITS = (1, 2, 5, 10, 20)
"""Seconds between the attempts to reach an API that does not answer or is not ready."""
_RETRIED = frozenset({429, 500, 502, 503, 504})


@dataclass(slots=True)
class Batch:
    """Lines of the file that are sent as one request."""

    first: int
    """The number of its first line, counted from 1."""
    numbers: list[int] = field(default_factory=list)
    """The line number of each job."""
    jobs: list[bytes] = field(default_factory=list)
    size: int = 0
    end: int = 0
    """Bytes of the file up to the end of the batch."""

    def body(self) -> bytes:
        """Return the body of the request."""
        return b'{"jobs":[' + b",".join(self.jobs) + b"]}"

    def key(self, label: str) -> str:
        """Return an Idempotency-Key that only these lines at this place of the file have."""
        text = f"{label}\n{self.first}\n".encode() + b"\n".join(self.jobs)
        return f"import-{hashlib.sha256(text).hexdigest()}"


def import_(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="One job a line, as POST /jobs takes it.")
    ],
    label: Annotated[str, typer.Option(help="A new label imports the same lines once more.")] = "",
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and no progress.")] = False,
) -> None:
    """Create the jobs in a file of JSON lines, 1,000 at a time.

    When it was cut off, run it again: within 24 hours no job is created twice. A batch with a wrong line is not
    created at all. The command names the lines; correct them and run it again to go on from there. Do not add lines
    to a file that was imported: its last batch would change and be created again. Put them into a new file.

    sweephand jobs import jobs.ndjson
    """
    created = present = 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with (
        Progress(*columns, console=console, disable=as_json or not console.is_terminal) as progress,
        httpx.Client(base_url=url.rstrip("/"), headers=authorization(key), timeout=60) as api,
    ):
        bar = progress.add_task("reading", total=file.stat().st_size)
        for batch in batches(file):
            if _send(api, batch, label, file):
                present += len(batch.jobs)
            else:
                created += len(batch.jobs)
            progress.update(bar, completed=batch.end, description=f"{created + present:,} jobs")
    if as_json:
        typer.echo(json.dumps({"created": created, "present": present}))
    else:
        typer.echo(
            f"{created:,} jobs created" + (f", {present:,} were there from an earlier run" if present else "")
        )


def batches(file: Path) -> Iterator[Batch]:
    """Yield the file's lines in batches, the same at each run. Raises `ConfigError` for a line that is no JSON."""
    with file.open("rb") as lines:
        batch = Batch(1)
        read = 0
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if text:
                if batch.jobs and (len(batch.jobs) == BATCH or batch.size + len(text) > BATCH_BYTES):
                    yield batch
                    batch = Batch(number)
                _check(file, number, text)
                batch.jobs.append(text)
                batch.numbers.append(number)
                batch.size += len(text) + 1
            read += len(line)
            batch.end = read
        if batch.jobs:
            yield batch


def _check(file: Path, number: int, text: bytes) -> None:
    try:
        json.loads(text)
    except ValueError as e:
        raise ConfigError(f"{file}:{number}: not JSON: {e}") from e


def _send(api: httpx.Client, batch: Batch, label: str, file: Path) -> bool:
    """Create a batch; return whether an earlier run created it. Raises `SweephandError` that names wrong lines."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": batch.key(label)}
    message = ""
    for wait in (*WAITS, 0):
        try:
            answer = api.post("/jobs/batch", content=batch.body(), headers=headers)
        except httpx.HTTPError as e:
            message = f"{api.base_url} does not answer: {e}"
            if batch.first == 1 and wait == WAITS[0]:
                _refuse_dead(api, message)
            if wait:
                typer.echo(f"{message}; the next attempt is in {wait} s", err=True)
        else:
            if answer.is_success:
                return "Idempotency-Replayed" in answer.headers
            message = problem_text(answer)
            if answer.status_code not in _RETRIED:
                raise SweephandError(_placed(answer, batch, file) or message)
        if wait:
            time.sleep(wait)
    raise SweephandError(f"{message}\nRun it again to go on from line {batch.first}.")


def _refuse_dead(api: httpx.Client, message: str) -> None:
    """Raise `SweephandError` where nothing was created and no program listens: waiting would not help."""
    try:
        api.get("/health", timeout=5)
    except httpx.ConnectError as e:
        raise SweephandError(f"{message}\nNothing is created: set SWEEPHAND_URL to where the API is.") from e
    except httpx.HTTPError:
        pass  # a program listens, and may be slow


def _placed(answer: httpx.Response, batch: Batch, file: Path) -> str:
    """Return the errors of a 422 with line numbers of the file in place of positions in the request."""
    lines = []
    try:
        for error in answer.json()["errors"]:
            _, jobs, at, *rest = f"{error['pointer']}///".split("/")
            if jobs != "jobs" or not at.isdigit():
                return ""
            place = "/".join(rest).rstrip("/")
            lines.append(f"{file}:{batch.numbers[int(at)]}: {'/' + place + ': ' if place else ''}{error['detail']}")
    except (ValueError, KeyError, TypeError, IndexError):
        return ""
    created = f"lines before {batch.first} are created, the others not" if batch.first > 1 else "nothing is created"
    return "\n".join([*lines, f"{created}: correct the file and run it again."]) if lines else ""
