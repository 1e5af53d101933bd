"""The gateway routes as an AWS HTTP API does."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from infra.local.serving import serverless_yml
from infra.local.serving.function_server import Functions, FunctionServer
from infra.local.serving.route_gateway import Gateway
from infra.local.serving.serverless_yml import Events, Route
from tests.waiting import wait_until

TINY = Path(__file__).with_name("tiny_functions.py")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Yield a client of a running gateway over the tiny functions."""
    log = tmp_path_factory.mktemp("gateway") / "gateway.log"
    server = FunctionServer("gateway", Functions(str(TINY), routes=str(serverless_yml.FILE)), env={}, log=log)
    server.start()
    with httpx.Client(base_url=server.url) as client:
        yield client
    server.stop()


@pytest.mark.parametrize(
    ("method", "path", "function"),
    [
        ("POST", "/jobs", "create_job"),
        ("GET", "/jobs?limit=3", "list_jobs"),
        ("GET", "/jobs/0198", "get_job"),
        ("PUT", "/jobs/0198/cancel", "cancel_job"),
        ("GET", "/health", "health"),
        ("GET", "/openapi.json", "openapi"),
        ("DELETE", "/jobs/0198", "not_found"),
        ("POST", "/jobs/0198/cancel", "not_found"),
        ("OPTIONS", "/jobs", "not_found"),
        ("GET", "/", "not_found"),
        ("GET", "/jobs/", "not_found"),
        ("GET", "/jobs/0198/", "not_found"),
        ("GET", "/jobs/a/b", "not_found"),
        ("GET", "/openapi-json", "not_found"),
        ("POST", "/tick", "not_found"),
    ],
)
def test_each_request_reaches_its_function(client: httpx.Client, method: str, path: str, function: str) -> None:
    """Method and path decide exactly; all else, a known path's other methods too, is the catch-all's."""
    assert client.request(method, path).json()["function"] == function


def test_function_sees_the_whole_request(client: httpx.Client) -> None:
    """Path, query and body arrive as they were sent."""
    answer = client.get("/jobs/a%20b?x=1&y=%C3%A9").json()
    assert (answer["path"], answer["query"]) == ("/jobs/a b", "x=1&y=%C3%A9")


def test_head_has_routes_of_its_own(client: httpx.Client) -> None:
    """API Gateway does not answer HEAD by GET's route, so each has one for it."""
    assert [client.head(path).status_code for path in ("/jobs", "/jobs/1", "/jobs/1/cancel")] == [200, 200, 404]


@pytest.mark.parametrize("size", [256 * 1024 + 1, 10_000_000])
def test_function_itself_refuses_a_large_body(client: httpx.Client, size: int) -> None:
    """The gateway has no limit of its own up to 10 MB, so the 413 is the function's."""
    assert client.post("/jobs", content=b"x" * size).json() == {"status": 413}


def test_headers_up_to_api_gateways_limit_pass(client: httpx.Client) -> None:
    """API Gateway takes 10,240 bytes of headers; so does this one, in one header or in the path."""
    assert client.get("/health", headers={"idempotency-key": "k" * 10_000}).status_code == 200
    assert client.get("/jobs", params={"cursor": "c" * 10_000}).status_code == 200


def test_stopped_server_finishes_its_request(tmp_path: Path) -> None:
    """A request that runs when the server is stopped gets its answer, also after other connections have closed."""
    log, arrived = tmp_path / "gateway.log", tmp_path / "arrived"
    functions = Functions(str(TINY), routes=str(serverless_yml.FILE), grace=10)
    with FunctionServer("gateway", functions, env={}, log=log) as server, ThreadPoolExecutor(1) as caller:
        for _ in range(4):
            assert httpx.get(f"{server.url}/health", headers={"Connection": "close"}).status_code == 200
        path = f"{server.url}/jobs?sleep=1500&arrived={arrived}"
        answer = caller.submit(httpx.get, path, headers={"Connection": "close"})
        wait_until(arrived.exists)
        server.stop()
        assert answer.result().json()["function"] == "list_jobs"


def test_most_literal_route_wins() -> None:
    """As in API Gateway a greedy path yields to a variable, and that to a literal one."""
    paths = ["/{rest+}", "/jobs/{id}", "/jobs/new"]
    gateway = Gateway(Events(tuple(Route(path, "ANY", path) for path in paths), None, ()), {})
    found = [gateway.function("GET", path) for path in ("/jobs/new", "/jobs/1", "/a/b", "/")]
    assert found == ["/jobs/new", "/jobs/{id}", "/{rest+}", None]


def test_functions_that_do_not_load_are_told_with_the_reason(tmp_path: Path) -> None:
    """A server whose functions cannot be imported does not start, and says why."""
    source = tmp_path / "main.py"
    source.write_text("import no_such_module_here\n")
    server = FunctionServer("broken", Functions(str(source), function="f"), env={}, log=tmp_path / "log")
    with pytest.raises(Exception, match="no_such_module_here"):
        server.start()
    assert server.pid is None
