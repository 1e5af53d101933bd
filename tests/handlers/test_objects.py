import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import boto3
import pytest

from sweephand.domain.handler import GiveUp
from sweephand.handlers.objects.store import PrefixedObjectStore

Read = Callable[[str], bytes]


@pytest.fixture
def files(folder: Path) -> PrefixedObjectStore:
    """Return a store that may use `folder`."""
    return PrefixedObjectStore(f"file://{folder}/")


def test_what_is_written_to_a_file_reads_back(files: PrefixedObjectStore, folder: Path) -> None:
    """A write makes the file and the folders above it, and a second write replaces the first."""
    url = f"file://{folder}/deep/er/ä b.bin"
    files.write(url, b"first", content_type="text/plain")
    files.write(url, b"second", content_type="text/plain")
    assert files.read(url, limit=6) == b"second"
    assert [path.name for path in (folder / "deep/er").iterdir()] == ["ä b.bin"]


def test_the_prefix_folder_is_made_when_it_is_missing(tmp_path: Path) -> None:
    """An allowed folder need not exist before its first object."""
    store = PrefixedObjectStore(f"file://{tmp_path}/new")
    store.write(f"file://{tmp_path}/new/a", b"x", content_type="text/plain")
    assert (tmp_path / "new/a").read_bytes() == b"x"


def test_an_object_over_the_limit_is_not_read(files: PrefixedObjectStore, folder: Path) -> None:
    """One byte more than the limit gives the job up."""
    (folder / "big").write_bytes(b"x" * 11)
    with pytest.raises(GiveUp, match="has 11 bytes, more than 10"):
        files.read(f"file://{folder}/big", limit=10)


def test_a_missing_file_gives_up(files: PrefixedObjectStore, folder: Path) -> None:
    """A missing object gives the job up at once."""
    with pytest.raises(GiveUp, match="there is no object"):
        files.read(f"file://{folder}/none", limit=10)


def test_without_prefixes_nothing_is_allowed(folder: Path) -> None:
    """A store without prefixes reads and writes nothing."""
    store = PrefixedObjectStore("")
    with pytest.raises(GiveUp, match="no allowed prefix holds"):
        store.read(f"file://{folder}/a", limit=1)
    with pytest.raises(GiveUp, match="no allowed prefix holds"):
        store.write("s3://bucket/a", b"x", content_type="text/plain")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "file://{folder}/../secret",
        "file://{folder}/%2e%2e/secret",
        "file://{folder}-evil/secret",
        "file://{folder}",
        "s3://bucket/secret",
    ],
)
def test_a_url_outside_the_prefix_is_refused(files: PrefixedObjectStore, folder: Path, url: str) -> None:
    """Neither reading nor writing leaves the allowed folder."""
    with pytest.raises(GiveUp, match="not allowed"):
        files.read(url.format(folder=folder), limit=100)
    with pytest.raises(GiveUp, match="not allowed"):
        files.write(url.format(folder=folder), b"x", content_type="text/plain")


@pytest.mark.parametrize("link", ["secret", "sub/secret"])
def test_a_link_that_leads_out_is_not_followed(files: PrefixedObjectStore, folder: Path, link: str) -> None:
    """A symbolic link, to a file or to a folder, cannot be used to leave the allowed folder."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (folder / "secret").symlink_to(outside / "secret")
    (folder / "sub").symlink_to(outside)
    with pytest.raises(GiveUp, match="leads out"):
        files.read(f"file://{folder}/{link}", limit=100)
    with pytest.raises(GiveUp, match="leads out"):
        files.write(f"file://{folder}/{link}", b"x", content_type="text/plain")
    assert (outside / "secret").read_text() == "secret"


def test_a_link_that_stays_within_is_followed(files: PrefixedObjectStore, folder: Path) -> None:
    """A symbolic link that stays in the allowed folder is followed."""
    (folder / "real").write_bytes(b"x")
    (folder / "link").symlink_to(folder / "real")
    assert files.read(f"file://{folder}/link", limit=1) == b"x"


def test_a_loop_of_links_is_refused(files: PrefixedObjectStore, folder: Path) -> None:
    """A link to itself gives the job up instead of failing at each retry."""
    (folder / "loop").symlink_to(folder / "loop")
    with pytest.raises(GiveUp):
        files.read(f"file://{folder}/loop", limit=1)


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_only_ordinary_files_are_opened(folder: Path, kind: str) -> None:
    """A pipe would block and a device never end: neither is opened, nor is a folder."""
    path = Path("/dev/zero") if kind == "device" else folder / kind
    store = PrefixedObjectStore(f"file://{path.parent}")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(GiveUp, match="no ordinary file"):
        store.read(f"file://{path}", limit=10)
    with pytest.raises(GiveUp, match="no ordinary file"):
        store.write(f"file://{path}", b"x", content_type="text/plain")


def test_s3_objects_keep_their_content_type(aws: str, bucket: Read) -> None:
    """An object goes to S3 and back through the endpoint that was named."""
    store = PrefixedObjectStore("s3://bucket/dir/", s3_endpoint=aws, s3_region="eu-west-1")
    store.write("s3://bucket/dir/ä b+c.png", b"body", content_type="image/png")
    assert store.read("s3://bucket/dir/ä b+c.png", limit=4) == b"body"
    assert bucket("dir/ä b+c.png") == b"body"
    client = boto3.client("s3")
    assert client.head_object(Bucket="bucket", Key="dir/ä b+c.png")["ContentType"] == "image/png"
    client.close()


def test_s3_gives_up_what_cannot_be_there(aws: str, bucket: Read) -> None:
    """A missing object, a missing bucket, too large an object and another prefix give the job up."""
    store = PrefixedObjectStore("s3://bucket/dir,s3://no-such-bucket", s3_endpoint=aws)
    store.write("s3://bucket/dir/big", b"x" * 11, content_type="text/plain")
    with pytest.raises(GiveUp, match="there is no object"):
        store.read("s3://bucket/dir/none", limit=10)
    with pytest.raises(GiveUp, match="has 11 bytes"):
        store.read("s3://bucket/dir/big", limit=10)
    with pytest.raises(GiveUp, match="there is no bucket"):
        store.write("s3://no-such-bucket/a", b"x", content_type="text/plain")
    with pytest.raises(GiveUp, match="not allowed"):
        store.read("s3://bucket-evil/dir/a", limit=10)


def test_an_s3_outage_is_worth_a_retry(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that cannot be reached raises its own error, not GiveUp."""
    monkeypatch.setattr("sweephand.handlers.objects.store.MAX_RETRIES", 0)
    store = PrefixedObjectStore("s3://bucket", s3_endpoint="http://127.0.0.1:9")
    with pytest.raises(Exception, match=r"127\.0\.0\.1:9") as failed:
        store.read("s3://bucket/a", limit=1)
    assert not isinstance(failed.value, GiveUp)


class FakeGoogle(BaseHTTPRequestHandler):
    """As much of Cloud Storage's XML interface as one object needs."""

    stored: dict[str, tuple[bytes, str]]

    def do_PUT(self) -> None:
        """Keep an object."""
        assert self.headers["Authorization"] == "Bearer token"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.stored[unquote(self.path)] = (body, self.headers["Content-Type"])
        self._answer(200, b"")

    def do_GET(self) -> None:
        """Return an object."""
        found = self.stored.get(unquote(self.path))
        self._answer(200 if found else 404, found[0] if found else b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def google() -> Iterator[str]:
    """Serve Google's objects on a free port: yields its URL."""
    FakeGoogle.stored = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeGoogle)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_google_objects_go_out_and_come_back(google: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object goes to Cloud Storage with its content type and the environment's credentials, and back."""
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", "token")
    store = PrefixedObjectStore("gs://bucket/dir", gcs_endpoint=google)
    store.write("gs://bucket/dir/a b.pdf", b"body", content_type="application/pdf")
    assert FakeGoogle.stored == {"/bucket/dir/a b.pdf": (b"body", "application/pdf")}
    assert store.read("gs://bucket/dir/a b.pdf", limit=4) == b"body"
    with pytest.raises(GiveUp, match="there is no object"):
        store.read("gs://bucket/dir/none", limit=4)


def test_a_store_can_be_sent_to_another_process(files: PrefixedObjectStore, folder: Path) -> None:
    """A store pickles, so a child process can be given one, also after it was used."""
    files.write(f"file://{folder}/a", b"x", content_type="text/plain")
    copy = pickle.loads(pickle.dumps(files))
    assert copy.read(f"file://{folder}/a", limit=1) == b"x"


def test_a_fork_after_use_fails_instead_of_hanging(folder: Path) -> None:
    """In a process forked after the library was used, a call raises at once: the library itself would hang."""
    script = f"""
        import os
        from sweephand.handlers.objects.store import PrefixedObjectStore
        store = PrefixedObjectStore("file://{folder}")
        store.write("file://{folder}/a", b"x", content_type="text/plain")
        child = os.fork()
        if child == 0:
            try:
                store.read("file://{folder}/a", limit=1)
            except RuntimeError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    """
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], timeout=60, check=False)
    assert ran.returncode == 0


@pytest.mark.parametrize("prefixes", ["s3://", "/srv", "file:///", "s3://bucket/a,nonsense"])
def test_a_prefix_that_is_no_folder_stops_the_start(prefixes: str) -> None:
    """A mistake in the configuration shows when the store is made, not when a job runs."""
    with pytest.raises(ValueError, match=r"whole disk|must start|bucket's name"):
        PrefixedObjectStore(prefixes)
