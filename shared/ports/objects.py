"""Objects by URL: what `resize_image` and `generate_pdf` read and write."""

from typing import Protocol


class ObjectStore(Protocol):
    """Reads and writes whole objects, only under the prefixes that the operator allowed."""

    def read(self, url: str, *, limit: int) -> bytes:
        """Return the object at `url` (`s3://`, `gs://` or `file://`).

        Raises `GiveUp` when the URL is not allowed, the object does not exist,
        or it is larger than `limit` bytes; any other failure is worth a retry and raises as it is.
        """
        ...

    def write(self, url: str, body: bytes, *, content_type: str) -> None:
        """Put `body` at `url`, whole or not at all; an existing object is replaced.

        Raises `GiveUp` when the URL is not allowed.
        """
        ...
