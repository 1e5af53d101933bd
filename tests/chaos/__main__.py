"""`make chaos`: SEED= repeats a run, JOBS= sets its size, DURATION= is the seconds of faults, JSON= keeps all.

FOLDER= is where it works, and what it leaves; without it a folder stays only where a forbidden figure is not 0.
"""

import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Options, as_json, run, table


def main() -> int:
    """Run, print the table, return 1 if a figure that must be 0 is not."""
    env = {name: value for name, value in os.environ.items() if value}
    seed = int(env.get("SEED") or secrets.randbelow(10**6))
    folder = Path(env.get("FOLDER") or tempfile.mkdtemp(prefix="minutehand-chaos-"))
    options = Options(seed, int(env.get("JOBS", "50000")), float(env.get("DURATION", "420")), folder=folder)
    print(f"SEED={seed} JOBS={options.jobs} DURATION={options.duration:g}", flush=True)
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


if __name__ == "__main__":
    sys.exit(main())
