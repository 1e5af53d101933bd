"""The interface against its own OpenAPI document: what nobody thought of sending."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.serving.function_server import FunctionServer
from tests.security.conftest import KEY

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "0"))
"""How many cases at least; 0 is the short run."""
SHORT_EXAMPLES = 8
OPERATIONS = 7
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.usefixtures("clean")
@pytest.mark.timeout(120 if not CASES else 7200)
def test_no_request_breaks_the_interface(gateway: FunctionServer, tmp_path: Path) -> None:
    """Every check of schemathesis holds: statuses, schemas, headers are as documented, and no answer is a 500."""
    examples = CASES // OPERATIONS if CASES else SHORT_EXAMPLES
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)),
            *("run", f"{gateway.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {KEY}", "--max-examples", str(examples), "--seed", "1"),
            *("--checks", "all", "--continue-on-failure", "--no-color", "--workers", "2"),
            *(() if CASES else ("--phases", "coverage,fuzzing")),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    log = gateway.log.read_text()
    said = done.stdout[-20000:] + done.stderr[-5000:]
    assert done.returncode == 0, said
    assert "Traceback" not in log, log[-5000:]
    assert KEY not in log
    if CASES:
        cases = re.search(r"([\d,]+) generated", done.stdout)
        assert cases, said
        assert int(cases[1].replace(",", "")) >= CASES, said
