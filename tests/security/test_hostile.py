"""A hostile caller, at the local gateway and at Lambda's entry: every answer is a 4xx that tells nothing of us."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from infra.local.services.services import Services
from infra.local.serving.function_server import Functions, FunctionServer
from infra.local.serving.serverless_yml import FILE
from sweephand.layout import MAIN
from tests.deploy.lambda_runtime import http_event
from tests.http.api import GATEWAY
from tests.security.conftest import KEY
from tests.security.hostile_requests import WIRE, Hostile, everything

REQUESTS = everything()
LEAKS = (
    "Traceback",
    "site-packages",
    "/shared/",
    "/functions/",
    "gunicorn",
    "werkzeug",
    "pydantic",
    str(MAIN.parent),
)
"""Words that would show a caller what runs behind the interface."""
HASH = sha256(KEY.encode()).hexdigest()
PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def shared_gateway(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionServer]:
    """Yield one gateway for all tests of this file."""
    log = tmp_path_factory.mktemp("hostile") / "gateway.log"
    env = {**services.env, "SWEEPHAND_API_KEYS": f"sha256:{HASH}", "HANDLERS": "tests.http.handlers"}
    with FunctionServer("the gateway", Functions(str(MAIN), routes=str(FILE)), env=env, log=log) as server:
        yield server
        assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def tick_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionServer]:
    """Yield the scheduled function's server, over a tick that does nothing."""
    source = Path(__file__).parents[1] / "local" / "tiny_functions.py"
    log = tmp_path_factory.mktemp("hostile") / "tick.log"
    with FunctionServer("the tick server", Functions(str(source), function="tick"), env={}, log=log) as server:
        yield server


def headers_of(sent: Hostile) -> dict[str, str]:
    """Return what is sent along, the good key included."""
    filled = {name: value.format(key=KEY, hash=HASH) for name, value in sent.headers.items()}
    return filled if sent.keyless else {"Authorization": f"Bearer {KEY}", **filled}


def send_raw(port: int, data: bytes, *, end: bool = True) -> bytes:
    """Send bytes as they are, with nothing after them if it is the `end`, and return the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as raw:
        with contextlib.suppress(OSError):  # it was refused before all of it was sent
            raw.sendall(data)
            if end:
                raw.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := raw.recv(65_536):
                answer += piece
        return answer


def test_the_tables_are_long() -> None:
    """Two hundred inputs and more."""
    assert len(REQUESTS) + len(WIRE) >= 200


@pytest.mark.parametrize(
    "sent", REQUESTS.values(), ids=[name.encode("unicode_escape").decode() for name in REQUESTS]
)
def test_gateway_answers(shared_gateway: FunctionServer, sent: Hostile) -> None:
    """Each request gets its 4xx from the local gateway, as a problem that tells nothing of us."""
    target = sent.path + (f"?{sent.query}" if sent.query else "")
    head = "".join(f"{name}: {value}\r\n" for name, value in headers_of(sent).items())
    size = "" if sent.body is None else f"Content-Length: {len(sent.body)}\r\n"
    request = f"{sent.method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{size}{head}\r\n"
    answer = send_raw(shared_gateway.port, request.encode("latin-1") + (sent.body or b""), end=False)
    head_of_answer, _, body = answer.partition(b"\r\n\r\n")
    assert int(answer.split()[1]) == sent.status, answer[-600:]
    assert b"application/problem+json" in head_of_answer
    assert json.loads(body)["status"] == sent.status
    assert not [word for word in LEAKS if word.encode() in body]


@pytest.mark.parametrize(("data", "status"), WIRE.values(), ids=list(WIRE))
def test_gateway_answers_what_is_hardly_http(shared_gateway: FunctionServer, data: bytes, status: int) -> None:
    """Each of these gets its 4xx too, and the next caller is served."""
    answer = send_raw(shared_gateway.port, data.replace(b"{key}", KEY.encode()))
    assert int(answer.split()[1]) == status, answer[-600:]
    assert not [word for word in LEAKS if word.encode() in answer.partition(b"\r\n\r\n")[2]]
    assert httpx.get(f"{shared_gateway.url}/health").status_code == 200


@pytest.fixture(scope="module")
def entry(services: Services) -> Iterator[pytest.MonkeyPatch]:
    """Have Lambda's entry run here, over the real record."""
    from tests.http.conftest import forget  # noqa: PLC0415 - it composes

    with pytest.MonkeyPatch.context() as patch:
        env = {**services.env, "SWEEPHAND_API_KEYS": f"sha256:{HASH}", "HANDLERS": "tests.http.handlers"}
        for name, value in env.items():
            patch.setenv(name, value)
        forget()
        yield patch
    forget()


@pytest.mark.parametrize(
    "sent", REQUESTS.values(), ids=[name.encode("unicode_escape").decode() for name in REQUESTS]
)
def test_lambda_answers(entry: pytest.MonkeyPatch, sent: Hostile) -> None:
    """Each request gets the same 4xx from the Lambda entry, its path as API Gateway hands it over."""
    from urllib.parse import unquote  # noqa: PLC0415

    from infra.aws import api  # noqa: PLC0415 - it makes functions ready

    name = GATEWAY.function(sent.method, unquote(sent.path, errors="replace"))
    assert name is not None
    for path in {sent.path, unquote(sent.path, errors="replace")}:
        event = http_event(sent.method, path, body=sent.body, headers=headers_of(sent))
        event["rawQueryString"] = sent.query
        answer = getattr(api, name)(event, None)
        assert answer["statusCode"] == sent.status, answer
        assert not [word for word in LEAKS if word in answer["body"]]


@pytest.mark.parametrize("path", ["/é", "/€", "/jobs/€", "/jobs/é", "/\ud800", "/jobs/\udfff", "/🎈", "/jobs/\x00"])
def test_lambda_answers_what_no_latin_text_can_hold(entry: pytest.MonkeyPatch, path: str) -> None:
    """A path that API Gateway decoded, in any script, is a 404 like any other that leads to nothing."""
    from infra.aws import api  # noqa: PLC0415 - it makes functions ready

    event = http_event("GET", path, headers={"Authorization": f"Bearer {KEY}"})
    event["rawQueryString"] = "cursor=€"
    for function in (api.not_found, api.get_job):
        assert function(event, None)["statusCode"] in (404, 405)
    assert api.list_jobs(event, None)["statusCode"] == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer ключ"},
        {"Authorization": "Bearer \ud800"},
        {"Authorization": f"Bearer {KEY}", "Content-Type": "€"},
        {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Idempotency-Key": "€"},
        {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", "Idempotency-Key": "\ud800"},
    ],
)
def test_lambda_answers_headers_of_any_script(entry: pytest.MonkeyPatch, headers: dict[str, str]) -> None:
    """A header whose value is no Latin text is refused for what it is."""
    from infra.aws import api  # noqa: PLC0415 - it makes functions ready

    event = http_event("POST", "/jobs", body=b'{"type":"anything","payload":{}}', headers=headers)
    assert 400 <= api.create_job(event, None)["statusCode"] < 500


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:80"},
    ],
)
@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded"])
def test_tick_port_takes_no_pages_post(tick_port: FunctionServer, sent: dict[str, str], kind: str) -> None:
    """What a browser sends for any page calls no tick."""
    answer = httpx.post(tick_port.url, headers={"Content-Type": kind, **sent}, content=b"{}")
    assert answer.status_code in (403, 421)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost", "file://", "*", "\u00e9"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_no_origin_is_let_in_by_default(shared_gateway: FunctionServer, origin: str, method: str) -> None:
    """Without CORS_ORIGINS no answer lets another site's page read it."""
    sent = {b"Origin": origin.encode("latin-1"), b"Access-Control-Request-Method": b"POST"}
    answer = httpx.request(method, f"{shared_gateway.url}/jobs", headers=sent)
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_named_origins_alone_are_let_in(entry: pytest.MonkeyPatch) -> None:
    """CORS_ORIGINS opens the API to the pages it names, answers of every kind included; `*` to all."""
    from infra.aws import api  # noqa: PLC0415 - it makes functions ready
    from sweephand.http import cors  # noqa: PLC0415 - likewise

    def said(origin: str, method: str = "GET", name: str = "list_jobs", **headers: str) -> dict[str, str]:
        event = http_event(method, "/jobs", headers={"Origin": origin, **headers})
        found: dict[str, str] = getattr(api, name)(event, None)["headers"]
        return found

    def named(value: str) -> None:
        entry.setenv("CORS_ORIGINS", value)
        cors.origins.cache_clear()

    named(f"{PAGE}, http://localhost:3000")
    try:
        assert said(PAGE)["access-control-allow-origin"] == PAGE
        assert "Location" in said(PAGE)["access-control-expose-headers"]
        asked = said(PAGE, "OPTIONS", "not_found", **{"Access-Control-Request-Method": "POST"})
        assert asked["access-control-allow-methods"] == asked["allow"] == "POST, GET, HEAD, OPTIONS"
        assert "Authorization" in asked["access-control-allow-headers"]
        for stranger in ("https://evil.example", f"{PAGE}.evil.example", PAGE.upper(), f"{PAGE}/", "null", ""):
            found = said(stranger)
            assert "access-control-allow-origin" not in found
            assert found["vary"] == "Origin"
        named("*")
        assert said("https://evil.example")["access-control-allow-origin"] == "*"
    finally:
        entry.delenv("CORS_ORIGINS")
        cors.origins.cache_clear()


def test_half_sent_requests_block_nobody(shared_gateway: FunctionServer) -> None:
    """With 60 requests that never end, others are answered at once; each of the 60 is ended in its time."""
    halves = [
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"G",
    ]
    open_ones = [socket.create_connection(("127.0.0.1", shared_gateway.port), timeout=15) for _ in range(60)]
    try:
        for number, raw in enumerate(open_ones):
            raw.sendall(halves[number % len(halves)])
        began = time.monotonic()
        assert httpx.get(f"{shared_gateway.url}/health").status_code == 200
        assert time.monotonic() - began < 2
        answers = [raw.recv(65_536) for raw in open_ones[: len(halves)]]
        assert [answer.split()[1:2] for answer in answers] == [[], [b"408"], [b"408"], []]
    finally:
        for raw in open_ones:
            raw.close()
