"""The one file that reads the clock and rolls the dice."""

import random
import secrets
import time
import uuid


class SystemClock:
    """The `Clock` and `Randomness` ports on this machine."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def jitter(self) -> float:
        """Return a number, uniformly random, 0 ≤ number < 1."""
        return random.random()  # noqa: S311 - spreads retries, guards nothing

    def job_id(self) -> uuid.UUID:
        """Return a new UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix ms, then 74 random bits."""
        value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        value = value & ~(0xF << 76) | 0x7 << 76
        value = value & ~(0x3 << 62) | 0x2 << 62
        return uuid.UUID(int=value)

    def token(self) -> str:
        """Return a new lease token: a random UUID as text."""
        return str(uuid.uuid4())
