"""Who may call."""

from hashlib import sha256

import pytest

from tests.http.api import KEY, OTHER_KEY, Answer, Api
from tests.http.conftest import Configure

JOB = "01980000-0000-7000-8000-000000000000"
PROTECTED = [("POST", "/jobs"), ("GET", "/jobs"), ("GET", f"/jobs/{JOB}"), ("PUT", f"/jobs/{JOB}/cancel")]


def refused(answer: Answer) -> bool:
    """Tell whether this is the one answer to every wrong key."""
    return (answer.status, answer.headers.get("WWW-Authenticate")) == (401, 'Bearer realm="sweephand"')


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY.upper()}",
        f"Basic {KEY}",
        f"bearer:{KEY}",
        KEY,
        f"Bearer {KEY}, Bearer {OTHER_KEY}",
        "Bearer ключ".encode().decode("latin-1"),
    ],
)
def test_wrong_key_is_refused(api: Api, method: str, path: str, authorization: str | None) -> None:
    """No key, a wrong one and another scheme get the same 401, before anything else is looked at."""
    headers = {} if authorization is None else {"Authorization": authorization}
    assert refused(Api(key=None).call(method, path, headers=headers))


@pytest.mark.parametrize("sent", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} ", f"Bearer {OTHER_KEY}"])
def test_each_configured_key_is_accepted(api: Api, sent: str) -> None:
    """A key may be configured plainly or as its SHA-256; the scheme's case does not count."""
    assert Api(key=None).call("GET", "/jobs", headers={"Authorization": sent}).status == 200


def test_hash_is_no_key(api: Api, configure: Configure) -> None:
    """Who reads the configured hash cannot call with it."""
    configured = "sha256:" + "0" * 64
    configure(SWEEPHAND_API_KEYS=configured)
    assert refused(Api(configured).get("/jobs"))
    assert refused(Api("0" * 64).get("/jobs"))


@pytest.mark.parametrize("keys", [None, "", " , "])
@pytest.mark.parametrize("key", [None, "", KEY])
def test_without_a_configured_key_every_call_is_refused(
    api: Api, configure: Configure, keys: str | None, key: str | None
) -> None:
    """An empty setting opens nothing, least of all to an empty key."""
    configure(SWEEPHAND_API_KEYS=keys)
    assert refused(Api(key).get("/jobs"))


@pytest.mark.parametrize("spelled", ["SHA256:{}", "Sha256:{}", "sha256:{}"])
def test_digest_is_a_digest_however_it_is_spelled(api: Api, configure: Configure, spelled: str) -> None:
    """The prefix's case does not count: else the published digest itself would be the key."""
    configured = spelled.format(sha256(KEY.encode()).hexdigest())
    configure(SWEEPHAND_API_KEYS=configured)
    assert refused(Api(configured).get("/jobs"))
    assert Api(KEY).get("/jobs").status == 200


@pytest.mark.parametrize("keys", ["sha-256:{}", "SHA256={}", "sha256 :{}", "sha512:{}", "sha256:{}0", "sha256$x"])
def test_what_looks_like_a_digest_is_never_a_key(api: Api, configure: Configure, keys: str) -> None:
    """A digest that is spelled otherwise is an operator's mistake, told as such, and opens nothing."""
    configured = keys.format(sha256(KEY.encode()).hexdigest())
    configure(SWEEPHAND_API_KEYS=configured)
    assert Api(configured).get("/jobs").status == Api(KEY).get("/jobs").status == 503


def test_wrong_setting_is_the_operators(api: Api, configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    """A hash that is none is a 503 whose reason stands in the log and not in the answer."""
    configure(SWEEPHAND_API_KEYS="sha256:123")
    answer = api.get("/jobs")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "sha256: is followed by 64 hexadecimal digits" in caplog.text
    assert "64" not in answer.text


@pytest.mark.parametrize("path", ["/health", "/openapi.json"])
def test_health_and_document_need_no_key(api: Api, path: str) -> None:
    """What a load balancer and a client generator ask is open, and tells nothing of jobs."""
    assert Api(key=None).get(path).status == 200
