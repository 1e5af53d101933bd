"""The command behind `make package` and `make package-gcp`."""

import argparse
import os
import sys
from pathlib import Path

from sweephand.layout import ROOT

from . import artifact
from .errors import PackageError
from .target import ARCHITECTURES, Target


def main() -> int:
    """Build one cloud's artifacts and print what they are; return the exit status."""
    options = _options()
    target = Target.here() if options.here else Target(options.python, options.arch)
    modules = tuple(name.strip() for name in os.environ.get("HANDLERS", "").split(",") if name.strip())
    try:
        for kind in artifact.AWS if options.cloud == "aws" else artifact.GOOGLE:
            built = artifact.build(kind, target, options.out / options.cloud, handlers=modules)
            print(built)
    except PackageError as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.package", description=__doc__)
    parser.add_argument("cloud", choices=("aws", "google"))
    parser.add_argument("--python", default="3.13", help="the runtime's minor version (%(default)s)")
    parser.add_argument("--arch", default="x86_64", choices=tuple(ARCHITECTURES), help="(%(default)s)")
    parser.add_argument("--here", action="store_true", help="for this interpreter and machine, as the tests do")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder for the zips (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
