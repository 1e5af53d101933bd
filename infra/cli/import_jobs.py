"""`sweephand jobs import`: create the jobs of a file, many at a time, so that it can be cut off and run again."""

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

from .api import LOCAL, Key, Url, headers_of, told

BATCH = 1000
"""Jobs of one request."""
BATCH_BYTES = 3 * 1024 * 1024
"""Bytes of one request; the API takes 4 MiB."""
WAITS = (1, 2, 5, 10, 20)
"""Seconds before asking again an API that does not answer or is not ready."""
_RETRIED = frozenset({429, 500, 502, 503, 504})


@dataclass(slots=True)
class Batch:
    """Lines of the file that become one request."""

    first: int
    """The number of its first line, from 1."""
    numbers: list[int] = field(default_factory=list)
    """The line number of each job."""
    jobs: list[bytes] = field(default_factory=list)
    size: int = 0
    end: int = 0
    """Bytes of the file up to its end."""

    def body(self) -> bytes:
        """Return the request."""
        return b'{"jobs":[' + b",".join(self.jobs) + b"]}"

    def key(self, label: str) -> str:
        """Return an Idempotency-Key that these lines at this place have, and no others."""
        text = f"{label}\n{self.first}\n".encode() + b"\n".join(self.jobs)
        return f"import-{hashlib.sha256(text).hexdigest()}"


def import_(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="One job a line, as POST /jobs takes it.")
    ],
    label: Annotated[str, typer.Option(help="Another one imports the same lines once more.")] = "",
    url: Url = LOCAL,
    key: Key = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and no progress.")] = False,
) -> None:
    """Create the jobs in a file of JSON lines, 1,000 at a time.

    Cut off, run it again: within 24 hours what was created is not created twice. A batch with a wrong line is not
    created at all; the lines are named, and once they are mended a further run goes on from there. Do not add lines
    to a file that was imported: its last batch would be a new one and be created again. Give them a file of theirs.

    sweephand jobs import jobs.ndjson
    """
    created = present = 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with (
        Progress(*columns, console=console, disable=as_json or not console.is_terminal) as progress,
        httpx.Client(base_url=url.rstrip("/"), headers=headers_of(key), timeout=60) as api,
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
    """Yield the file's lines in batches, the same at each run. Raises `ConfigError` for one that is no JSON."""
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
    """Create a batch; tell whether it was there already. Raises `SweephandError` with what is wrong and where."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": batch.key(label)}
    said = ""
    for wait in (*WAITS, 0):
        try:
            answer = api.post("/jobs/batch", content=batch.body(), headers=headers)
        except httpx.HTTPError as e:
            said = f"{api.base_url} does not answer: {e}"
            if batch.first == 1 and wait == WAITS[0]:
                _refuse_dead(api, said)
            if wait:
                typer.echo(f"{said}; asking again in {wait} s", err=True)
        else:
            if answer.is_success:
                return "Idempotency-Replayed" in answer.headers
            said = told(answer)
            if answer.status_code not in _RETRIED:
                raise SweephandError(_placed(answer, batch, file) or said)
        if wait:
            time.sleep(wait)
    raise SweephandError(f"{said}\nRun it again to go on from line {batch.first}.")


def _refuse_dead(api: httpx.Client, said: str) -> None:
    """Raise `SweephandError` where nothing was created and nothing listens: an address does not mend itself."""
    try:
        api.get("/health", timeout=5)
    except httpx.ConnectError as e:
        raise SweephandError(f"{said}\nNothing is created: set SWEEPHAND_URL to where the API is.") from e
    except httpx.HTTPError:
        pass  # something is there, and may be slow


def _placed(answer: httpx.Response, batch: Batch, file: Path) -> str:
    """Return the faults of a 422 with the file's line numbers in place of positions in the request."""
    lines = []
    try:
        for fault in answer.json()["errors"]:
            _, jobs, at, *rest = f"{fault['pointer']}///".split("/")
            if jobs != "jobs" or not at.isdigit():
                return ""
            place = "/".join(rest).rstrip("/")
            lines.append(f"{file}:{batch.numbers[int(at)]}: {'/' + place + ': ' if place else ''}{fault['detail']}")
    except (ValueError, KeyError, TypeError, IndexError):
        return ""
    created = f"lines before {batch.first} are created, the others not" if batch.first > 1 else "nothing is created"
    return "\n".join([*lines, f"{created}: mend the file and run it again."]) if lines else ""
