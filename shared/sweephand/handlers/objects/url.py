"""The URL of an object: one spelling for each, which the API and the stores both accept.

A URL that could be spelled in two ways is refused instead of normalised:
otherwise one spelling could be checked and another opened.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_KEY_BYTES = 1024
"""The longest path, in UTF-8 bytes: the limit of S3 and Google Cloud Storage for a key."""
MAX_SEGMENT_BYTES = 255
"""The longest piece between two slashes, in UTF-8 bytes: the limit of file systems for a name."""
SCHEMES = ("s3", "gs", "file")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]\Z")
_REFUSED = frozenset('\\%?#*[]{}^`|<>"')
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """A parsed URL. `bucket` is empty for `file`; `segments` are the pieces of the path between its slashes."""

    scheme: str
    bucket: str
    segments: tuple[str, ...]

    @property
    def key(self) -> str:
        """The path without its first slash: the key in an object store."""
        return "/".join(self.segments)

    def is_under(self, prefix: "ObjectUrl") -> bool:
        """Whether this object lies below `prefix`. Segments count whole: `a/bc` is not under `a/b`."""
        depth = len(prefix.segments)
        same_place = (self.scheme, self.bucket) == (prefix.scheme, prefix.bucket)
        return same_place and len(self.segments) > depth and self.segments[:depth] == prefix.segments


def parse_object_url(url: str) -> ObjectUrl:
    """Return the parts of `s3://bucket/key`, `gs://bucket/key` or `file:///path`.

    Raises `ValueError`, which names the mistake, for another scheme, for a host in a file's URL, for a missing
    path, for an empty segment, `.` or `..`, and for a character that some store escapes, expands or cuts at.
    """
    parsed = _parse(url)
    if not parsed.segments:
        raise ValueError("the URL names no object: its path is empty")
    return parsed


def parse_prefix(url: str) -> ObjectUrl:
    """Return the parts of a folder's URL. A slash at its end is optional, and a whole bucket counts as a folder.

    Raises `ValueError` as `parse_object_url` does, and for `file:///`, which would allow the whole disk.
    """
    parsed = _parse(url if url.endswith("//") else url.removesuffix("/"))
    if parsed.scheme == "file" and not parsed.segments:
        raise ValueError("file:/// would allow the whole disk: name a folder")
    return parsed


def _parse(url: str) -> ObjectUrl:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError("the URL must start with s3://, gs:// or file:/// (lower case)")
    bucket, slash, path = rest.partition("/")
    _check_bucket(scheme, bucket)
    segments = tuple(path.split("/")) if path else ()
    if scheme == "file" and not slash:
        raise ValueError("a file URL has three slashes: file:///folder/name")
    _check_segments(segments)
    return ObjectUrl(scheme, bucket, segments)


def _check_bucket(scheme: str, bucket: str) -> None:
    if scheme == "file":
        if bucket:
            raise ValueError("a file URL names no host: file:///folder/name")
    elif not _BUCKET.match(bucket) or ".." in bucket:
        raise ValueError(
            "the bucket's name must be 3 to 222 characters of a-z 0-9 . _ -, without user, port or host"
        )


def _check_segments(segments: Iterable[str]) -> None:
    size = 0
    for segment in segments:
        if segment in ("", ".", ".."):
            raise ValueError(f"the path has a segment {segment!r}")
        bad = next((char for char in segment if _is_refused(char)), None)
        if bad is not None:
            raise ValueError(f"the path has the character {bad!a}")
        length = len(segment.encode())
        if length > MAX_SEGMENT_BYTES:
            raise ValueError(f"the path has a segment of more than {MAX_SEGMENT_BYTES} bytes")
        size += length + 1
    if size - 1 > MAX_KEY_BYTES:
        raise ValueError(f"the path is longer than {MAX_KEY_BYTES} bytes")


def _is_refused(char: str) -> bool:
    return char in _REFUSED or unicodedata.category(char) in _REFUSED_CATEGORIES


def _check_url(url: str) -> str:
    parse_object_url(url)
    return url


ObjectUrlText = Annotated[
    str,
    Field(
        max_length=2048,
        examples=["s3://bucket/folder/name.png", "file:///srv/out/name.pdf"],
        json_schema_extra={"format": "uri"},
    ),
    AfterValidator(_check_url),
]
"""The URL of one object, for a payload model. The store checks the allowed prefixes when the job runs."""
