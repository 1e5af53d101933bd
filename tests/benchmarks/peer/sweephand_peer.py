"""Sweephand for the peers' harness, over the direct transport: its own PostgreSQL and Redis are used.

The harness starts them for the peers that use one of the two: among its peers must be one of each kind.
"""

import sys

from peers import Config, Peer  # type: ignore[import-not-found] # the harness's own module

NAME = "sweephand"
PEER = Peer(
    "both",
    ["sweephand"],
    3000,
    [
        Config("1 drainer, direct", 60_000, "{bin}/python -m sweephand_app"),
        Config("2 drainers, direct", 120_000, "{bin}/python -m sweephand_app", copies=2, delay=False),
    ],
    n_bulk=20_000,
    bulk="batches of 500",
    python=sys.executable,
)
