"""What the record's error codes mean, whichever transport they came by."""

from shared.domain.errors import MinutehandError, RecordRefusedError, RecordSetupError, RecordUnavailableError

_SETUP = frozenset({"42501", "42883", "42P01", "PGRST106", "PGRST202", "PGRST203", "PGRST301", "PGRST302"})
"""No EXECUTE, missing function, missing table; PostgREST's: no such schema, function, ambiguous one, bad JWT."""
_REFUSED = ("22", "23")
"""SQLSTATE classes of values: data exception, constraint violation."""
_UNAVAILABLE = ("08", "25", "40", "53", "57", "58", "XX", "55P03", "5", "429", "PGRST0")
"""What passes: SQLSTATE classes of connection, read-only, rollback, resources, timeouts, system and internal
errors, and locks; HTTP 5xx and 429 of what stands before PostgREST; PostgREST's own connection errors."""


def error_of(name: str, code: str, message: str, *, check: str) -> MinutehandError:
    """Tell apart what passes, what an operator must mend by looking at `check`, and what the caller sent."""
    said = f"{code}: {message}" if message else code
    if code in _SETUP:
        return RecordSetupError(f"{name} cannot be called ({said}): check {check} and the migrations.")
    if code.startswith(_REFUSED):
        return RecordRefusedError(f"{name}: {said}")
    if not code or code.startswith(_UNAVAILABLE):
        return RecordUnavailableError(f"{name}: {said or 'no answer'}")
    return RecordSetupError(f"{name}: {said}")
