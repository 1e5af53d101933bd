"""`make bench`: measures everything that the README gives a number for, on services of its own.

    make bench [ONLY=drain,create] [SCALE=0.1] [REPEAT=3] [JSON=figures.json] [CHART=chart.svg]
               [PEERS=../bench/peers PEER_ENVS=folder] [PEER_ONLY=pgqueuer,bullmq]

SCALE multiplies every number of jobs: 0.1 is done in a few minutes. PEERS names a folder with the harness that runs
other job queues; then they are measured in the same run, with Sweephand among them, and PEER_ENVS is where that
harness keeps its environments. All processes share two cores, as the harness has it. `churn` takes an hour
(CHURN_MINUTES=60) and is measured only where ONLY names it; its chart is written beside CHART.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks import large_table, sections
from tests.benchmarks.harness import Bed, speed

HERE = Path(__file__).parent
CORES = 2


def main() -> int:
    """Measure, print, write; return 1 when a section failed."""
    only = [name for name in os.environ.get("ONLY", "").split(",") if name]
    if unknown := set(only) - {*sections.SECTIONS, "peers"}:
        print(f"ONLY={','.join(sorted(unknown))}: there are {', '.join(sections.SECTIONS)}, peers", file=sys.stderr)
        return 1
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    sections.REPEAT = int(os.environ.get("REPEAT", "3"))
    figures: dict[str, Any] = {"made": _machine(), "sections": {}}
    failed = _ours(only, figures)
    if (peers := os.environ.get("PEERS")) and (not only or "peers" in only):
        failed |= _peers(Path(peers), figures)
    print("\n" + table(figures))
    _write(figures)
    if path := os.environ.get("CHART"):
        _draw(Path(path), figures)
    return int(failed)


def _ours(only: list[str], figures: dict[str, Any]) -> bool:
    wanted = only or [name for name in sections.SECTIONS if name not in sections.ONLY_WHEN_NAMED]
    wanted = [name for name in sections.SECTIONS if name in wanted]
    failed = False
    if not wanted:
        return failed
    with (
        tempfile.TemporaryDirectory(prefix="sweephand-bench-") as folder,
        Bed(Path(folder), float(os.environ.get("SCALE", "1"))) as bed,
    ):
        Path(folder).chmod(0o755)
        for at, name in enumerate(wanted, 1):
            print(f"[{at}/{len(wanted)}] {name}: {sections.SECTIONS[name].__doc__}", flush=True)
            found = figures["sections"].setdefault(name, {})
            try:
                for figure, values in sections.SECTIONS[name](bed):
                    found[figure] = {**values, "speed": speed()}
                    print(f"    {figure}: {_said(values)}", flush=True)
                    _write(figures)
            except Exception as e:  # noqa: BLE001 - one section that fails must not end the run
                failed = True
                found["error"] = {"said": str(e)[-500:]}
                print(f"    FAILED: {e}", flush=True)
    return failed


def _peers(harness: Path, figures: dict[str, Any]) -> bool:
    """Run the peers' harness with Sweephand among its peers."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "peers.json"
        command = [
            *(sys.executable, "run.py", "--envs", os.environ.get("PEER_ENVS", str(harness / "envs"))),
            *("--extra", str(HERE / "peer" / "sweephand_peer.py"), "--json", str(out)),
            *("--repeat", os.environ.get("REPEAT", "3"), "--scale", os.environ.get("SCALE", "1")),
            *("--what", os.environ.get("PEER_WHAT", "drain,enqueue,delay,memory")),
        ]
        if only := os.environ.get("PEER_ONLY"):
            command += ["--only", only]
        done = subprocess.run(command, cwd=harness, check=False)
        if out.exists():
            figures["peers"] = json.loads(out.read_text())["peers"]
        return done.returncode != 0


def _machine() -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": CORES,
        "scale": float(os.environ.get("SCALE", "1")),
        "speed": speed(),
        "seconds": time.monotonic(),
    }


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in values.items() if isinstance(value, int | float))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def table(figures: Mapping[str, Any]) -> str:
    """Return all figures as Markdown."""
    lines = []
    for name, found in figures["sections"].items():
        lines += [f"### {name}", "", "| Figure | Values |", "|---|---|"]
        lines += [f"| {figure} | {_said(values) or values.get('said', '')} |" for figure, values in found.items()]
        lines.append("")
    for name, peer in figures.get("peers", {}).items():
        for config in peer["configs"]:
            rate = config.get("drain", {}).get("rate")
            lines.append(
                f"| {name} {peer.get('version', '')} | {config['name']} | {_number(rate) if rate else '-'} |"
            )
    return "\n".join(lines)


def picture(figures: Mapping[str, Any]) -> str:
    """Return a chart of jobs drained a second: Sweephand over both transports, the other queues in each setting."""
    rows = [
        (f"Sweephand, {figure.removeprefix('noop, ')}", values["rate"])
        for figure, values in figures["sections"].get("drain", {}).items()
        if figure.startswith("noop")
    ]
    for name, peer in figures.get("peers", {}).items():
        for config in peer["configs"]:
            if rate := config.get("drain", {}).get("rate"):
                label = (
                    f"Sweephand in the same harness, {config['name']}"
                    if name == "sweephand"
                    else f"{name}, {config['name']}"
                )
                rows.append((label, rate))
    # A child's peak memory includes its parent's at the fork, and this library is large.
    from tests.benchmarks import chart  # noqa: PLC0415

    return chart.bars(
        "No-op jobs drained a second, two cores, durable", sorted(rows, key=lambda row: -row[1]), "jobs/s"
    )


def _draw(path: Path, figures: Mapping[str, Any]) -> None:
    """Write the drain rates as bars into `path`, and the churn as lines into `<stem>-churn` beside it."""
    if "drain" in figures["sections"] or "peers" in figures:
        path.write_text(picture(figures))
    for name, values in figures["sections"].get("churn", {}).items():
        if samples := values.get("samples"):
            path.with_stem(f"{path.stem}-churn").write_text(large_table.picture(name, samples))


def _write(figures: Mapping[str, Any]) -> None:
    if path := os.environ.get("JSON"):
        Path(path).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
