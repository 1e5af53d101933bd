"""A short chaos run; `make chaos` is the long one."""

import os

import pytest

from tests.chaos.run import SHORT, Options, run, table


@pytest.mark.timeout(180)
def test_nothing_is_lost_in_a_short_run() -> None:
    """Every fault once, at random moments: all that was accepted ends, and nothing happens that was forbidden."""
    options = Options(int(os.environ.get("SEED", "1")), jobs=1200, duration=18, patience=90, scale=0.08, pace=SHORT)
    result = run(options)
    assert not result.forbidden, f"\n{table(result)}"
    assert result.figures["entries"] > 1000
