"""The interface behind its gateway, as the Internet meets it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.services.services import Services
from infra.local.serving.function_server import Functions, FunctionServer
from infra.local.serving.serverless_yml import FILE
from sweephand.layout import MAIN

KEY = "security-api-key-7d20"


@pytest.fixture
def gateway(clean: Services, tmp_path: Path) -> Iterator[FunctionServer]:
    """Yield the gateway in a process of its own, over an empty record."""
    env = {**clean.env, "SWEEPHAND_API_KEYS": KEY, "HANDLERS": "tests.http.handlers"}
    with FunctionServer(
        "the gateway", Functions(str(MAIN), routes=str(FILE)), env=env, log=tmp_path / "gateway.log"
    ) as server:
        yield server
