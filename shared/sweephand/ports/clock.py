"""Time, randomness and ids, which no use case makes up itself."""

from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    """The function's own clock. It decides nothing but the function's budget."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...


class Randomness(Protocol):
    """Randomness and ids."""

    def jitter(self) -> float:
        """Return a random number, uniform, 0 ≤ number < 1."""
        ...

    def job_id(self) -> UUID:
        """Return a new UUIDv7 (RFC 9562): ordered by time, so that indexes grow at one end."""
        ...

    def token(self) -> str:
        """Return a new lease token: a random UUID as text."""
        ...
