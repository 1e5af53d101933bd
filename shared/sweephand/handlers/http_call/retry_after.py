"""How long a server asks us to wait: `Retry-After` as seconds or as a date (RFC 9110, 10.2.3)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT = 3600.0
"""Seconds: no server makes a job wait longer."""
_SECONDS = re.compile(r"[0-9]{1,18}\Z")


def seconds(retry_after: str | None, date: str | None, now: float) -> float | None:
    """Return the seconds to wait, 0 to MAX_WAIT, or None where the header says nothing that can be read.

    `date`: the answer's own Date header, by which a Retry-After date counts, as the server's clock may be another.
    `now`: this machine's time in seconds since 1970, for an answer without a date.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if _SECONDS.match(text):
        return min(float(text), MAX_WAIT)
    until = _instant(text)
    if until is None:
        return None
    began = _instant(date) if date else None
    return min(max(0.0, until - (now if began is None else began)), MAX_WAIT)


def _instant(text: str) -> float | None:
    try:
        read: datetime = parsedate_to_datetime(text)
        # A date that names no zone is GMT, as every HTTP date is.
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
