"""Reads and writes objects below allowed prefixes: on S3, on Google Cloud Storage or in a folder, with obstore."""

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

    OpenStore = S3Store | GCSStore | LocalStore

REQUEST_TIMEOUT = timedelta(seconds=20)
"""How long one request may take, with its connection."""
RETRY_TIMEOUT = timedelta(seconds=20)
"""How long after its first request a failing call may be tried again. After that the job itself is retried."""
MAX_RETRIES = 2
CHUNK = 1024 * 1024
"""How much of an object is read at a time, in bytes."""


class PrefixedObjectStore:
    """The `ObjectStore` of every installation. It reads and writes only below `prefixes`.

    `prefixes` are URLs of folders, comma separated (`s3://bucket/dir/,file:///srv/out/`); an empty text allows
    nothing. `s3_endpoint` and `gcs_endpoint` name another service than Amazon's or Google's, as
    `http://host:port`; `s3_region` names the buckets' region. obstore finds credentials, and a region that is
    not given, in the environment.

    It holds only text, so it can be pickled for a child process. Each call opens a store of its own:
    a built-in handler makes no more than two calls.

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
        """Return the object at `url`.

        Raises `GiveUp` if `url` is not allowed, or its object is missing or larger than `limit` bytes.
        """
        place, prefix = self._allowed(url)
        store, key = self._open(place, prefix)
        try:
            found = store.get(key)
        except FileNotFoundError:
            raise GiveUp(f"there is no object at {url}") from None
        if found.meta["size"] > limit:
            raise GiveUp(f"the object at {url} has {found.meta['size']} bytes, more than {limit}")
        return _join(found.stream(CHUNK), limit, url)

    def write(self, url: str, body: bytes, *, content_type: str) -> None:
        """Write `body` to `url` in one step: a reader gets the old object or the new one.

        Raises `GiveUp` if `url` is not allowed or its bucket is missing.
        """
        place, prefix = self._allowed(url)
        store, key = self._open(place, prefix)
        # A file has no content type, and obstore refuses one for files.
        attributes = None if place.scheme == "file" else {"Content-Type": content_type}
        try:
            store.put(key, body, attributes=attributes, use_multipart=False)
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

    def _open(self, place: ObjectUrl, prefix: ObjectUrl) -> "tuple[OpenStore, str]":
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
    """Raise where obstore would wait for ever: a forked child lacks the threads that the library started."""
    global _opened  # noqa: PLW0603 - true of the process, as the library's threads are
    if _forbidden_in_child:
        raise RuntimeError(
            "object storage was used before this process was forked: spawn the process, or fork it earlier"
        )
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
        # obstore has two settings for the endpoint. This one wins over the environment's.
        config["aws_endpoint_url_s3"] = endpoint
    if region:
        config["region"] = region
    return config


def _real_place(place: ObjectUrl, prefix: ObjectUrl) -> tuple[Path, str]:
    """Return the allowed folder and the file's path in it, after following symbolic links in both.

    Raises `GiveUp` if a link leads out of the folder, or if the path leads to something other than a file.
    A link made between this check and the use would be followed. Only the folder's owner can make one.
    """
    root = Path("/", *prefix.segments).resolve()
    path = root.joinpath(*place.segments[len(prefix.segments) :])
    try:
        real = path.resolve()
        mode = real.stat().st_mode if real.exists() else stat.S_IFREG
    except (OSError, RuntimeError):  # a loop of links, a name that is too long, no permission
        raise GiveUp(f"file:///{place.key} cannot be looked up") from None
    if not real.is_relative_to(root) or real == root:
        raise GiveUp(f"file:///{place.key} leads out of its allowed prefix")
    if not stat.S_ISREG(mode):
        raise GiveUp(f"file:///{place.key} is no ordinary file")
    return root, real.relative_to(root).as_posix()


def _join(chunks: Iterable[bytes], limit: int, url: str) -> bytes:
    """Join `chunks`. Raises `GiveUp` beyond `limit` bytes, whatever size the store announced."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise GiveUp(f"the object at {url} has more than {limit} bytes")
    return bytes(body)
