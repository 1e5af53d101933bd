"""The functions behind the running gateway, as `sweephand dev` and a cloud serve them."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from infra.local.services.services import Services
from infra.local.serving import serverless_yml
from infra.local.serving.function_server import Functions, FunctionServer
from tests.http.api import KEY, PROBLEM, SOURCE, check
from tests.http.conftest import SETTINGS

BODY = {"type": "anything", "payload": {"n": 1}}
JOB = "01980000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def server(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionServer]:
    """Yield the running gateway over our functions."""
    log = tmp_path_factory.mktemp("gateway") / "gateway.log"
    functions = Functions(str(SOURCE), routes=str(serverless_yml.FILE))
    running = FunctionServer("gateway", functions, env=services.env | SETTINGS, log=log)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(server: FunctionServer, clean: Services) -> Iterator[httpx.Client]:
    """Yield a client with the key, over an empty record."""
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30) as made:
        yield made


def test_job_lives_through_all_routes(client: httpx.Client) -> None:
    """A job is created, found by its Location, listed, and cancelled."""
    created = client.post("/jobs", json=BODY)
    assert created.status_code == 201
    assert client.get(created.headers["Location"]).json() == created.json()
    assert [job["id"] for job in client.get("/jobs").json()["jobs"]] == [created.json()["id"]]
    assert client.put(created.headers["Location"] + "/cancel").json()["status"] == "cancelled"
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/openapi.json").json()["openapi"] == "3.1.0"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", "POST, GET, HEAD, OPTIONS"),
        ("DELETE", "/jobs", "POST, GET, HEAD, OPTIONS"),
        ("PATCH", "/jobs", "POST, GET, HEAD, OPTIONS"),
        ("DELETE", f"/jobs/{JOB}", "GET, HEAD, OPTIONS"),
        ("POST", f"/jobs/{JOB}", "GET, HEAD, OPTIONS"),
        ("GET", f"/jobs/{JOB}/cancel", "PUT, OPTIONS"),
        ("HEAD", f"/jobs/{JOB}/cancel", "PUT, OPTIONS"),
        ("POST", f"/jobs/{JOB}/cancel", "PUT, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_other_methods_are_told_which_are_taken(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    """A known path with another method is 405, with Allow."""
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    if method != "HEAD":
        check({"$ref": "#/components/schemas/Problem"}, answer.json())


@pytest.mark.parametrize("path", ["/jobs", f"/jobs/{JOB}", f"/jobs/{JOB}/explain", "/health", "/openapi.json"])
def test_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    """HEAD has the status and the headers of GET (RFC 9110, 9.3.2)."""
    said = client.get(path)
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (said.status_code, b"")
    same = ("Content-Type", "Content-Length")
    assert [answer.headers[name] for name in same] == [said.headers[name] for name in same]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/jobs", "POST, GET, HEAD, OPTIONS"),
        ("/jobs/batch", "POST, OPTIONS"),
        (f"/jobs/{JOB}", "GET, HEAD, OPTIONS"),
        (f"/jobs/{JOB}/cancel", "PUT, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_are_told_to_anybody(client: httpx.Client, path: str, allowed: str) -> None:
    """OPTIONS tells a path's methods without a key, and opens nothing to other sites' pages."""
    page = {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"}
    answer = httpx.options(client.base_url.join(path), headers=page)
    assert (answer.status_code, answer.content, answer.headers["Allow"]) == (204, b"", allowed)
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    ["/", "/job", "/jobs/", "/Jobs", f"/jobs/{JOB}/", f"/jobs/{JOB}/cancel/", "/jobs/a/b/c", "/health/", "/tick",
     "/openapi.yaml", "/openapi-json", "/jobs%2F", "/%00", "/jobs/a%2Fb", "/é"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_are_not_found(client: httpx.Client, method: str, path: str) -> None:
    """What is no route is a 404 of ours, `tick` among it."""
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM)
    check({"$ref": "#/components/schemas/Problem"}, answer.json())


@pytest.mark.parametrize("size", [256 * 1024 + 1, 6_000_000])
def test_large_body_is_refused(client: httpx.Client, size: int) -> None:
    """Over 256 KiB is 413, announced or in pieces, and the connection stays good."""
    headers = {"Content-Type": "application/json"}
    announced = client.post("/jobs", content=b" " * size, headers=headers)
    pieces = client.post("/jobs", content=iter([b" " * 65_536] * (size // 65_536 + 1)), headers=headers)
    assert (announced.status_code, pieces.status_code) == (413, 413)
    assert client.get("/health").status_code == 200


def test_body_in_pieces_is_read(client: httpx.Client) -> None:
    """A body without an announced length is as good as another."""
    pieces = iter([b'{"type": "any', b'thing", "payl', b'oad": {}}'])
    answer = client.post("/jobs", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201


def test_headers_up_to_api_gateways_limit_are_looked_at(client: httpx.Client) -> None:
    """Ten thousand bytes of a header or a query are refused by us, for what they are."""
    key = client.post("/jobs", json=BODY, headers={"Idempotency-Key": "k" * 10_000})
    cursor = client.get("/jobs", params={"cursor": "c" * 10_000})
    wrong = client.get("/jobs", headers={"Authorization": "Bearer " + "k" * 10_000})
    assert (key.status_code, cursor.status_code, wrong.status_code) == (422, 422, 401)


def test_idempotency_key_replays_over_http(client: httpx.Client) -> None:
    """The header goes in and comes out through every layer."""
    first, again = (client.post("/jobs", json=BODY, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


def test_header_sent_twice_is_no_key(client: httpx.Client) -> None:
    """Two keys in one request are joined by HTTP, and two Authorization headers open nothing."""
    twice = [("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {KEY}")]
    bare = httpx.Request("GET", client.base_url.join("/jobs"), headers=twice)
    assert client.send(bare).status_code == 401


@pytest.mark.parametrize(
    "line",
    [b"GET /jobs HTTP/1.1", b"BREW /jobs HTTP/1.1", b"GET //jobs HTTP/1.1", b"GET http://x/jobs HTTP/1.1"],
)
def test_odd_requests_are_never_a_500(server: FunctionServer, line: bytes) -> None:
    """What no client library sends is answered too, and without a stack trace."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert 300 <= int(answer.split()[1]) < 500
    assert b"Traceback" not in answer


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_the_path_of_a_batch_is_no_jobs(client: httpx.Client, method: str) -> None:
    """`/jobs/batch` takes POST alone, although `/jobs/{id}` matches it too."""
    answer = client.request(method, "/jobs/batch")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, OPTIONS")


@pytest.mark.parametrize("path", ["/jobs/%0A/explain", "/jobs/a%0Ab", "/%0A", "/robots.txt", "/favicon.ico"])
def test_what_the_framework_turns_away_is_a_problem_too(client: httpx.Client, path: str) -> None:
    """A path that functions-framework keeps for itself, or cannot match, is answered as any unknown one."""
    answer = client.get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM)
    check({"$ref": "#/components/schemas/Problem"}, answer.json())
