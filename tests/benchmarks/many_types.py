"""A thousand handlers that do nothing: what turns between many types cost."""

from sweephand import handler
from tests.benchmarks.handlers import Empty, noop

NAMES = tuple(f"noop_{number:04}" for number in range(1000))
for name in NAMES:
    handler(name, payload=Empty, timeout=30)(noop)
