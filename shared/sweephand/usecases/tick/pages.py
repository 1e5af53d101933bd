"""Reads pages of the record: what is pending and due within the horizon."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sweephand.domain.json_value import JsonValue
from sweephand.ports.record import DueSchedules, Entered, Page, Record

PAGE = 500
"""Jobs on a page: a record call of some 35 KB."""
FURTHER = 1000
"""Jobs on a page that goes on where another ended: it is read when that many are expected."""

FIRE_CALLS = 5
"""Calls that make fires before a page is used: enough for 500 schedules, and half a second of work."""


class PageReader:
    """Reads a fresh first page when asked, and further pages that go on where the last one ended.

    A first page deals from all lanes in turns, so no lane hides another. Further pages show what each lane has
    behind it. The reader lives as long as the process. Where it begins again from the front, nothing is
    missed for good.
    """

    def __init__(
        self, record: Record, horizon_ms: int, make_fires: Callable[[DueSchedules], int] = lambda _: 0
    ) -> None:
        """`make_fires` makes jobs of what is due of schedules, and returns of how many of them it did."""
        self._record, self._horizon_ms, self._make_fires = record, horizon_ms, make_fires
        self._cut: Sequence[JsonValue] = ()

    def first(
        self,
        types: Sequence[str],
        *,
        strict: bool = False,
        skip: Sequence[str] = (),
        entered: Entered | None = None,
        begins: bool = False,
    ) -> Page:
        """Return the page of the oldest of each lane, and end what ran out; see `Record.restore`.

        Where schedules have fires to make, the page shows their jobs. Its `schedules` are what FIRE_CALLS calls
        left, and can be made.
        """
        page = self._record.restore(
            types, self._horizon_ms, PAGE, strict=strict, skip=skip, entered=entered, begins=begins
        )
        for _ in range(FIRE_CALLS):
            if page.schedules is None:
                break
            if not self._make_fires(page.schedules):  # another tick makes them, or another transaction holds them
                page = replace(page, schedules=None)
                break
            page = _later(page, self._record.restore(types, self._horizon_ms, PAGE, strict=strict, skip=skip))
        self._cut = page.cut
        return page

    @property
    def has_more(self) -> bool:
        """Whether the last page left something out, so that there is something to go on with."""
        return bool(self._cut)

    def further(self, types: Sequence[str], skip: Sequence[str] = (), entered: Entered | None = None) -> Page:
        """Return the next page of the lanes that the last one cut."""
        page = self._record.restore(types, self._horizon_ms, FURTHER, self._cut, skip=skip, entered=entered)
        self._cut = page.cut
        return page


def _later(before: Page, page: Page) -> Page:
    """Return `page`, with what `before` ended counted in."""
    return replace(
        page,
        rescued=before.rescued + page.rescued,
        failed=before.failed + page.failed,
        bad={**before.bad, **page.bad},
    )
