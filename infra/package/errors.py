"""What stops a build."""

from sweephand.domain.errors import SweephandError


class PackageError(SweephandError):
    """An artifact cannot be built; the message says why and what to do."""
