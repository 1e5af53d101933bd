"""The interface behind its gateway, as the Internet meets it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.dev import MAIN
from infra.local.function_server import Functions, FunctionServer
from infra.local.routes import FILE
from infra.local.stack import Stack

KEY = "security-api-key-7d20"


@pytest.fixture
def gateway(clean: Stack, tmp_path: Path) -> Iterator[FunctionServer]:
    """Yield the gateway in a process of its own, over an empty record."""
    env = {**clean.env, "MINUTEHAND_API_KEYS": KEY, "HANDLERS": "tests.web.handlers"}
    with FunctionServer(
        "the gateway", Functions(str(MAIN), routes=str(FILE)), env=env, log=tmp_path / "gateway.log"
    ) as server:
        yield server
