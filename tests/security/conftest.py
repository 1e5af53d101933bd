"""The interface behind its gateway, as the Internet meets it."""

from collections.abc import Iterator

import pytest

from infra.local.services.services import Services
from infra.local.serving.function_server import Functions, FunctionServer
from infra.local.serving.serverless_yml import FILE
from sweephand.layout import MAIN

KEY = "security-api-key-7d20"


@pytest.fixture(scope="module")
def gateway(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionServer]:
    """Yield the gateway in a process of its own; the tests of a file share it."""
    log = tmp_path_factory.mktemp("gateway") / "gateway.log"
    env = {**services.env, "SWEEPHAND_API_KEYS": KEY, "HANDLERS": "tests.http.handlers"}
    with FunctionServer("the gateway", Functions(str(MAIN), routes=str(FILE)), env=env, log=log) as server:
        yield server
