"""Puts back into the index what the record has and the index lost: level-triggered, one page at a time."""

from collections.abc import Sequence

from shared.domain.json_value import JsonValue
from shared.ports.record import Page, Record

PAGE = 500
"""Jobs on a page: a record call of some 35 KB."""
ROTATE_EVERY = 0.25
"""Seconds between further pages while a backlog stands."""
ROTATE_COST = 20
"""How many times as long as a page took the next one waits, from the beginning of the one to that of the other."""


def pause(took: float) -> float:
    """Return the seconds from the beginning of a further page that `took` so many to that of the next.

    The rows of what was just drained make a page dear until they are vacuumed, just when there is much to drain.
    """
    return max(ROTATE_EVERY, ROTATE_COST * took)


class Restorer:
    """Reads pages of the record: always a fresh first one when asked, and others in rotation.

    A first page shows the oldest jobs, so it is all that is needed where the index is empty or complete. The
    rotation finds what the index lost behind a backlog that stands. It lives as long as the process does; where it
    begins again from the front nothing is missed for good.
    """

    def __init__(self, record: Record, horizon_ms: int) -> None:
        self._record, self._horizon_ms = record, horizon_ms
        self._next: JsonValue = None

    def first(self, types: Sequence[str]) -> Page:
        """Return the page of the oldest, and end expired leases."""
        page = self._record.page(types, self._horizon_ms, PAGE)
        if page.next is None:
            self._next = None
        elif self._next is None:
            self._next = page.next
        return page

    @property
    def has_more(self) -> bool:
        """Tell whether the last first page was full, so that there is something to rotate over."""
        return self._next is not None

    def further(self, types: Sequence[str]) -> Page:
        """Return the next page of the rotation; after the last it begins anew."""
        page = self._record.page(types, self._horizon_ms, PAGE, self._next)
        self._next = page.next
        return page
