"""`make chaos`: SEED= repeats a run, JOBS= sets its size, DURATION= is the seconds of faults, JSON= keeps all.

TRANSPORT= is how the functions reach the record (rest, direct), INDEX= what Redis is (single, cluster).
FOLDER= is where it works, and what it leaves; without it a folder stays only where a forbidden figure is not 0.
"""

import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.run import Options, as_json, run, table
from tests.chaos.world import INDEXES, TRANSPORTS


def main() -> int:
    """Run, print the table, return 1 if a figure that must be 0 is not."""
    env = {name: value for name, value in os.environ.items() if value}
    seed = int(env.get("SEED") or secrets.randbelow(10**6))
    folder = Path(env.get("FOLDER") or tempfile.mkdtemp(prefix="sweephand-chaos-"))
    options = Options(
        seed,
        int(env.get("JOBS", "50000")),
        float(env.get("DURATION", "420")),
        folder=folder,
        transport=_choice(env, "TRANSPORT", TRANSPORTS),
        index=_choice(env, "INDEX", INDEXES),
    )
    size = f"JOBS={options.jobs} DURATION={options.duration:g}"
    print(f"SEED={seed} {size} TRANSPORT={options.transport} INDEX={options.index}", flush=True)
    kept = "FOLDER" in env
    try:
        result = run(options, lambda line: print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True))
        kept = kept or bool(result.forbidden)
    finally:
        if not kept:
            shutil.rmtree(folder)
    print(f"\n{table(result)}")
    if "JSON" in env:
        Path(env["JSON"]).write_text(json.dumps(as_json(result), indent=2) + "\n")
    if result.forbidden:
        print(f"\nforbidden: {result.forbidden}; the record, the index, the logs and the ledger are in {folder}")
    return 1 if result.forbidden else 0


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = env.get(name, choices[0])
    if value not in choices:
        sys.exit(f"{name} must be {' or '.join(choices)}, not {value!r}.")
    return value


if __name__ == "__main__":
    sys.exit(main())
