"""What the record's error codes mean, whichever transport they came by."""

from sweephand.domain.errors import (
    RecordRefusedError,
    RecordSetupError,
    RecordStatementError,
    RecordUnavailableError,
    SweephandError,
)

_SETUP = frozenset({"42501", "42883", "42P01", "PGRST106", "PGRST202", "PGRST203", "PGRST301", "PGRST302"})
"""No EXECUTE, missing function, missing table; PostgREST's: no such schema, function, ambiguous one, bad JWT."""
_REFUSED = ("22", "23")
"""SQLSTATE classes of values: data exception, constraint violation."""
_STATEMENT = ("0A", "2F", "38", "39", "40", "44", "54", "55P03", "57014", "P0", "XX")
"""What one statement failed with, in a record that answers: SQLSTATE classes of rollback (deadlock, serialization),
a lock that was not available, a cancel or time limit, program limits, internal errors; and what a user's trigger
fails with: what it raises, features, functions and views."""
_UNAVAILABLE = ("08", "25", "53", "57", "58", "5", "429", "PGRST0")
"""What passes: SQLSTATE classes of connection, read-only, resources, shutdown and system; HTTP 5xx and 429 of what
stands before PostgREST; PostgREST's own connection errors."""
_SQLSTATE = 5
"""Characters of a SQLSTATE, which tell it from an HTTP status."""


def error_of(name: str, code: str, message: str, *, check: str) -> SweephandError:
    """Tell apart what passes, what an operator must mend by looking at `check`, and what the caller sent."""
    said = f"{code}: {message}" if message else code
    if code in _SETUP:
        return RecordSetupError(f"{name} cannot be called ({said}): check {check} and the migrations.")
    if code.startswith(_REFUSED):
        return RecordRefusedError(f"{name}: {said}")
    if len(code) == _SQLSTATE and code.startswith(_STATEMENT):
        return RecordStatementError(f"{name}: {said}")
    if not code or code.startswith(_UNAVAILABLE):
        return RecordUnavailableError(f"{name}: {said or 'no answer'}")
    return RecordSetupError(f"{name}: {said}")
