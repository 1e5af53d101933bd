"""A short chaos run; `make chaos` is the long one."""

import os

import pytest

from tests.chaos.run import SHORT, Options, run, table


@pytest.mark.timeout(180)
def test_nothing_is_lost_in_a_short_run() -> None:
    """Every fault once, at random moments: all that was accepted ends, and nothing happens that was forbidden."""
    env = os.environ
    options = Options(
        int(env.get("SEED", "1")),
        jobs=1200,
        duration=18,
        patience=90,
        scale=0.08,
        pace=SHORT,
        transport=env.get("TRANSPORT", "rest"),
        index=env.get("INDEX", "single"),
    )
    result = run(options)
    assert not result.forbidden, f"\n{table(result)}"
    assert result.figures["entries"] > 1000
