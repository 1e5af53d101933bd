"""Objects on S3, on Google Cloud Storage or in a folder, through obstore, only below allowed prefixes."""

import os
import stat
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sweephand.domain.handler import GiveUp
from sweephand.handlers.objects.url import ObjectUrl, parse_object_url, parse_prefix

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSConfig, GCSStore, LocalStore, RetryConfig, S3Config, S3Store

    Opened = tuple[S3Store | GCSStore | LocalStore, str]

REQUEST_TIMEOUT = timedelta(seconds=20)
"""How long one request may take, connecting included."""
RETRY_TIMEOUT = timedelta(seconds=20)
"""How long after its first request a failing call is still tried again; the job's own retries follow."""
MAX_RETRIES = 2
CHUNK = 1024 * 1024
"""How much of an object is taken at a time, in bytes."""


class PrefixedObjectStore:
    """The `ObjectStore` port, below `prefixes` alone.

    `prefixes`: folders' URLs, comma separated (`s3://bucket/dir/,file:///srv/out/`); none allows nothing.
    `s3_endpoint`, `s3_region`, `gcs_endpoint`: for a service other than Amazon's or Google's own, as
    `http://host:port`; credentials are found in the environment by obstore.

    Holds nothing but text, so it can be pickled into a child process. Each call opens its store anew:
    the handlers that use it run in a process of their own and call it twice.

    Raises `ValueError` for a prefix that is not a folder's URL.
    """

    def __init__(
        self,
        prefixes: str,
        *,
        s3_endpoint: str | None = None,
        s3_region: str | None = None,
        gcs_endpoint: str | None = None,
    ) -> None:
        self._prefixes = _parse_prefixes(prefixes)
        self._s3_endpoint = s3_endpoint
        self._s3_region = s3_region
        self._gcs_endpoint = gcs_endpoint

    def read(self, url: str, *, limit: int) -> bytes:
        """Return the object at `url`, which is at most `limit` bytes."""
        place, prefix = self._allowed(url)
        store, key = self._open(place, prefix)
        try:
            found = store.get(key)
        except FileNotFoundError:
            raise GiveUp(f"there is no object at {url}") from None
        if found.meta["size"] > limit:
            raise GiveUp(f"the object at {url} has {found.meta['size']} bytes, more than {limit}")
        return _bounded(found.stream(CHUNK), limit, url)

    def write(self, url: str, body: bytes, *, content_type: str) -> None:
        """Put `body` at `url`, in one step: readers see the old object or the new one."""
        place, prefix = self._allowed(url)
        store, key = self._open(place, prefix)
        # A file keeps no content type, and obstore refuses to be given one there.
        about = None if place.scheme == "file" else {"Content-Type": content_type}
        try:
            store.put(key, body, attributes=about, use_multipart=False)
        except FileNotFoundError:
            raise GiveUp(f"there is no bucket for {url}") from None

    def _allowed(self, url: str) -> tuple[ObjectUrl, ObjectUrl]:
        try:
            place = parse_object_url(url)
        except ValueError as problem:
            raise GiveUp(f"the object's URL is not allowed: {problem}") from None
        prefix = next((prefix for prefix in self._prefixes if place.is_under(prefix)), None)
        if prefix is None:
            raise GiveUp(f"the object's URL is not allowed: no allowed prefix holds {url}")
        return place, prefix

    def _open(self, place: ObjectUrl, prefix: ObjectUrl) -> "Opened":
        _refuse_after_fork()
        from obstore import store  # noqa: PLC0415 - only the jobs that move objects load the library

        if place.scheme == "file":
            root, key = _real_place(place, prefix)
            return store.LocalStore(root, mkdir=True), key
        retry: RetryConfig = {"max_retries": MAX_RETRIES, "retry_timeout": RETRY_TIMEOUT}
        if place.scheme == "gs":
            google: GCSConfig = {"base_url": self._gcs_endpoint} if self._gcs_endpoint else {}
            client = _client(self._gcs_endpoint)
            bucket = store.GCSStore(place.bucket, config=google, client_options=client, retry_config=retry)
            return bucket, place.key
        return store.S3Store(
            place.bucket,
            config=_s3_config(self._s3_endpoint, self._s3_region),
            client_options=_client(self._s3_endpoint),
            retry_config=retry,
        ), place.key


_forbidden_in_child = False
_opened = False


def _refuse_after_fork() -> None:
    """Fail where obstore would wait forever: its threads are not there after a fork."""
    global _opened  # noqa: PLW0603 - it is a fact of the process, as the library's threads are
    if _forbidden_in_child:
        raise RuntimeError("object storage was used before this process forked: start it by spawn or earlier")
    _opened = True


def _after_fork() -> None:
    global _forbidden_in_child  # noqa: PLW0603 - likewise
    _forbidden_in_child = _opened


os.register_at_fork(after_in_child=_after_fork)


def _parse_prefixes(text: str) -> tuple[ObjectUrl, ...]:
    return tuple(parse_prefix(piece.strip()) for piece in text.split(",") if piece.strip())


def _client(endpoint: str | None) -> "ClientConfig":
    return {"allow_http": (endpoint or "").startswith("http://"), "timeout": REQUEST_TIMEOUT}


def _s3_config(endpoint: str | None, region: str | None) -> "S3Config":
    config: S3Config = {}
    if endpoint:
        # Of obstore's two endpoint settings the one that wins, whatever the environment holds.
        config["aws_endpoint_url_s3"] = endpoint
    if region:
        config["region"] = region
    return config


def _real_place(place: ObjectUrl, prefix: ObjectUrl) -> tuple[Path, str]:
    """Return the allowed folder and the file's path in it, both with their symbolic links followed.

    Raises `GiveUp` for a link that leads out, and for what is there but is no ordinary file.
    A link made between this check and the use would be followed: who can make one already owns the folder.
    """
    root = Path("/", *prefix.segments).resolve()
    path = root.joinpath(*place.segments[len(prefix.segments) :])
    try:
        real = path.resolve()
        mode = real.stat().st_mode if real.exists() else stat.S_IFREG
    except (OSError, RuntimeError):  # a loop of links, a name too long for this file system, no permission
        raise GiveUp(f"file:///{place.key} cannot be looked up") from None
    if not real.is_relative_to(root) or real == root:
        raise GiveUp(f"file:///{place.key} leads out of its allowed prefix")
    if not stat.S_ISREG(mode):
        raise GiveUp(f"file:///{place.key} is no ordinary file")
    return root, real.relative_to(root).as_posix()


def _bounded(chunks: Iterable[bytes], limit: int, url: str) -> bytes:
    """Join `chunks`, trusting no announced size: a store that sends more than `limit` is cut off."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise GiveUp(f"the object at {url} has more than {limit} bytes")
    return bytes(body)
