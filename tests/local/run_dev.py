"""Runs the local emulation over the tiny functions: `python -m tests.local.run_dev`, settings as in `make dev`."""

import sys
from pathlib import Path

from infra.local.dev import run

if __name__ == "__main__":
    sys.exit(run(source=Path(__file__).with_name("tiny_functions.py")))
