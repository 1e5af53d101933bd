"""What stops a build."""


class PackageError(Exception):
    """An artifact cannot be built; the message says why and what to do."""
