"""Signatures: what is signed, by which keys, and that receivers can verify it."""

import base64
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from infra.local.services.service import free_port
from sweephand.domain.errors import ConfigError
from sweephand.handlers.http_call.allow import Allowed
from sweephand.handlers.http_call.service import open_http
from sweephand.handlers.http_call.signing import SigningKeys, headers
from sweephand.layout import ROOT
from tests.handlers.calling import Caller, loopback_opened
from tests.handlers.conftest import JOB_ID
from tests.handlers.http_server import Request, Server, plain, says
from tests.waiting import wait_until

__all__ = ["loopback_opened"]
NEW, OLD, OTHER = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"n", b"o", b"x"))


def sent(keys: list[str], host: str = "a.example", **payload: Any) -> Request:
    """Return what arrives of a call that is signed by `keys`."""
    caller = Caller(keys=keys, resolve=lambda _name: ["127.0.0.1"])

    async def main() -> Request:
        async with Server(says(plain())) as server:
            await caller.call(f"http://{host}:{server.port}/", **payload)
            return server.requests[0]

    return caller.run(main)


def test_the_published_library_verifies_each_key() -> None:
    """A receiver with the new or the old key accepts the exact bytes; another key, or other bytes, are refused."""
    request = sent([NEW, OLD], body='{"a": "grüße"}\n')
    for key in (NEW, OLD):
        assert Webhook(key).verify(request.body, request.headers) == {"a": "grüße"}
    for key, body in ((OTHER, request.body), (NEW, request.body.strip())):
        with pytest.raises(WebhookVerificationError):
            Webhook(key).verify(body, request.headers)
    first, second = request.headers["webhook-signature"].split(" ")
    at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), tz=UTC)
    assert first == Webhook(NEW).sign(str(JOB_ID), at, request.body.decode())
    assert second == Webhook(OLD).sign(str(JOB_ID), at, request.body.decode())


def test_the_id_stays_and_the_time_is_new_at_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt carries the job's id, and is signed at its own time."""
    first = sent([NEW], body="{}")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    second = sent([NEW], body="{}", attempt=2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(JOB_ID)
    times = [int(request.headers["webhook-timestamp"]) for request in (first, second)]
    assert 3600 <= times[1] - times[0] <= 3605
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_a_host_with_keys_of_its_own_is_signed_by_these_alone() -> None:
    """What one receiver knows does not sign what another one accepts."""
    keys = [OTHER, f"a.example={NEW}", f"A.Example={OLD}"]
    own = SigningKeys.of(keys)
    assert own.for_host("A.EXAMPLE") == (b"n" * 32, b"o" * 32)
    assert own.for_host("b.example") == (b"x" * 32,)
    request = sent(keys, body="{}")
    assert Webhook(NEW).verify(request.body, request.headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(request.body, request.headers)
    assert SigningKeys.of([f"[::1]={NEW}", f"10.0.0.1={OLD}"]).for_host("::1") == (b"n" * 32,)


def test_without_keys_there_is_no_signature() -> None:
    """The id is sent all the same: a receiver can tell a second delivery by it."""
    request = sent([])
    assert request.headers["webhook-id"] == str(JOB_ID)
    assert "webhook-signature" not in request.headers


def test_bytes_that_are_no_text_are_signed_as_they_are() -> None:
    """The signature is over the bytes of the body, whatever they are."""
    request = sent([NEW], body_base64="AP/+")
    at = int(request.headers["webhook-timestamp"])
    assert headers([b"n" * 32], str(JOB_ID), at, b"\x00\xff\xfe").items() <= request.headers.items()


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("secret", "entry 2 is neither whsec_… nor host=whsec_…"),
        ("whsec_", "a key of 0 bytes"),
        ("whsec_AAAA", "entry 2 has a key of 3 bytes: it needs 24 to 64"),
        (f"whsec_{base64.b64encode(bytes(65)).decode()}", "a key of 65 bytes"),
        ("whsec_äöü", "no base64"),
        ("whsec_abc", "no base64"),
        (f"a b={NEW}", "names a host that is none"),
        (f"={NEW}", "names a host that is none"),
        (f"https://a.example={NEW}", "names a host that is none"),
    ],
)
def test_a_key_that_cannot_sign_is_refused_without_being_told(word: str, told: str) -> None:
    """The setting and the entry's place are named, the key is not."""
    with pytest.raises(ConfigError) as refused:
        open_http(Allowed(), "", [NEW, word])
    assert str(refused.value).startswith("WEBHOOK_SIGNING_KEYS: entry 2 ")
    assert told in str(refused.value)
    assert not re.search(r"whsec_\w", str(refused.value))
    assert NEW not in repr(SigningKeys.of([NEW, f"a.example={NEW}"]))


RECEIVERS = {"python": ("receiver.py", sys.executable), "js": ("receiver.mjs", "node")}


@pytest.fixture(params=RECEIVERS)
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """Start a receiver as docs/webhooks.md has it; yield its port."""
    name, program = RECEIVERS[request.param]
    blocks = re.findall(rf"```{request.param}\n(.*?)```", (ROOT / "docs/webhooks.md").read_text(), re.DOTALL)
    (code,) = (block for block in blocks if name in block)
    (tmp_path / name).write_text(code)
    port = free_port()
    env = {**os.environ, "WEBHOOK_KEY": OLD, "PORT": str(port)}
    process = subprocess.Popen([program, str(tmp_path / name)], env=env, stderr=subprocess.DEVNULL)
    wait_until(lambda: _answers(port) or process.poll() is not None)
    yield port
    process.terminate()
    process.wait()


def _answers(port: int) -> bool:
    try:
        return _post(port, {}, b"") == 401
    except OSError:
        return False


def _post(port: int, given: dict[str, str], body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/", body, given)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_documents_receivers_verify(receiver: int) -> None:
    """They accept a call that is signed by several keys, theirs among them, and refuse every other."""

    def status(keys: list[str], **payload: Any) -> Any:
        caller = Caller(keys=keys)
        return caller.run(lambda: caller.call(f"http://127.0.0.1:{receiver}/", retry_4xx=True, **payload))["status"]

    for body in ({"body": json.dumps({"a": "grüße"})}, {"body_base64": "AP/+"}, {}):
        assert status([NEW, OLD], **body) == 204
    for keys in ([NEW], []):
        with pytest.raises(Exception, match="answered 401"):
            status(keys, body="{}")
    now = int(time.time())
    key = base64.b64decode(OLD.removeprefix("whsec_"))
    good = headers([key], "id", now, b"{}")
    assert _post(receiver, good, b"{}") == 204
    assert _post(receiver, good, b"{ }") == 401
    assert _post(receiver, {**good, "webhook-id": "other"}, b"{}") == 401
    assert (
        _post(receiver, {**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")}, b"{}")
        == 401
    )
    assert _post(receiver, {**good, "webhook-timestamp": "x"}, b"{}") == 401
    for seconds in (-400, 400):
        assert _post(receiver, headers([key], "id", now + seconds, b"{}"), b"{}") == 401
