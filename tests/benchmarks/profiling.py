"""Where the time of a job goes: what stops a drain, function by function."""

import pstats
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweephand.layout import ROOT
from tests.benchmarks.harness import Bed

JOBS = 100_000
MOST = 12
"""How many modules are named."""


def profile(bed: Bed) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Measure where a job's time goes, direct: by process, by function in SQL, by module of the drainer."""
    count = bed.scaled(JOBS)
    bed.sql.execute("alter system set track_functions = 'pl'")
    bed.sql.execute("select pg_reload_conf()")
    for drainers in (1, 2):
        _fill(bed, count)
        bed.sql.execute("select pg_stat_reset()")
        before = bed.spent()
        reports = bed.ticks(drainers, STORE="direct")
        spent = bed.spent()
        name = f"{drainers} drainer{'s' * (drainers > 1)}"
        yield (
            f"CPU of a job in us, and its WAL, {name}",
            {
                "drainer_us": sum(report["cpu_s"] for report in reports) / count * 1e6,
                **{each: (spent[each] - before[each]) / count for each in spent},
            },
        )
        yield f"calls of the record in us a job, {name}", _functions(bed, count)
    bed.sql.execute("alter system reset track_functions")
    bed.sql.execute("select pg_reload_conf()")
    _fill(bed, count)
    into = bed.folder / "drainer.profile"
    bed.run("-m", "cProfile", "-o", str(into), "-m", "sweephand", "tick", STORE="direct")
    yield "the drainer's own thread, % by module (cProfile)", _modules(into)


def _fill(bed: Bed, count: int) -> None:
    bed.clear()
    bed.fill("noop", count)
    bed.index()


def _functions(bed: Bed, count: int) -> dict[str, float]:
    """Return the time of each SQL function for a job: as long as its calls took, whoever had the processor."""
    rows = bed.sql.execute(
        "select funcname, total_time from pg_stat_user_functions"
        " where starts_with(funcname, 'sweephand_') and calls > 0 order by total_time desc"
    ).fetchall()
    return {str(name).removeprefix("sweephand_"): ms * 1000 / count for name, ms in rows}


def _modules(file: Path) -> dict[str, float]:
    """Return each module's share of the time, waits for the record and Redis left out, the greatest first."""
    spent: Counter[str] = Counter()
    for (path, _, function), (_, _, own, _, _) in pstats.Stats(str(file)).stats.items():  # type: ignore[attr-defined]
        spent[_module(path, function)] += own
    del spent["waits"]
    total = spent.total()
    return {name: seconds / total * 100 for name, seconds in spent.most_common(MOST)}


def _module(path: str, function: str) -> str:
    if path == "~":
        return "waits" if "poll" in function or "acquire" in function else "built in"
    if path.startswith(str(ROOT / "shared")):
        return str(Path(path).relative_to(ROOT))
    parts = Path(path).parts
    at = parts.index("site-packages") if "site-packages" in parts else len(parts) - 2
    return parts[at + 1] if "site-packages" in parts else f"{parts[at]}/{parts[at + 1]}"
