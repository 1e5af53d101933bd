"""What the handlers' tests share: a job's context, moto's server for AWS, and certificates."""

import io
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import boto3
import pytest
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from moto.server import ThreadedMotoServer

from sweephand.domain.handler import Context
from sweephand.domain.services import HttpCaller, Mailer
from sweephand.handlers.http_call.service import HttpService
from sweephand.handlers.mail import ses
from sweephand.handlers.mail.mailer import open_mailer
from sweephand.handlers.objects.store import PrefixedObjectStore

JOB_ID = UUID("019b76da-a800-7abc-8def-0123456789ab")
"""A UUIDv7 made on 1 January 2026 at 00:00 UTC."""


def context(
    *,
    prefixes: str = "",
    mail: Mailer | None = None,
    http: HttpCaller | None = None,
    attempt: int = 1,
    job_id: UUID = JOB_ID,
) -> Context:
    """Return a job's context with the real adapters in it."""
    return Context(
        job_id=job_id,
        attempt=attempt,
        deadline=time.monotonic() + 30,
        log=logging.getLogger("tests.handlers"),
        objects=PrefixedObjectStore(prefixes),
        mail=mail or open_mailer(None, None),
        http=http or HttpService(),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder for a job's objects."""
    made = tmp_path / "allowed"
    made.mkdir()
    return made


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """Serve moto on a free port: its URL."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Empty moto's account, point the environment to it, and yield the endpoint's URL."""
    settings = {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    _post(f"{moto_url}/moto-api/reset")
    ses._client.cache_clear()
    yield moto_url
    ses._client.cache_clear()


def _post(url: str) -> None:
    session = URLLib3Session()
    assert session.send(AWSRequest("POST", url).prepare()).status_code == 200
    session.close()


@pytest.fixture
def bucket(aws: str) -> Iterator[Callable[[str], bytes]]:
    """Yield an S3 bucket named `bucket`: a function that returns the object at a key."""
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def read(key: str) -> bytes:
        out = io.BytesIO()
        client.download_fileobj("bucket", key, out)
        return out.getvalue()

    yield read
    client.close()
