"""Reading the record for the index while a backlog stands."""

import pytest

from sweephand.usecases.tick.restore import ROTATE_EVERY, pause


@pytest.mark.parametrize(("took", "share"), [(0.001, 0.004), (0.0125, 0.05), (0.1, 0.05), (10.0, 0.05)])
def test_further_pages_take_a_twentieth_of_the_time_at_most(took: float, share: float) -> None:
    """However dear a page is; a cheap one comes four times a second."""
    assert took / pause(took) == pytest.approx(share)
    assert pause(took) >= ROTATE_EVERY
