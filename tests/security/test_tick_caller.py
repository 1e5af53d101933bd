"""Who may call a tick: the platform's scheduler alone.

On AWS it has no route and no URL (tests/deploy/test_template.py); on Google Cloud only the scheduler's identity may
invoke it (tests/deploy/test_google.py).
"""

import httpx
import psycopg
import pytest

from infra.local.services.services import Services
from infra.local.serving.function_server import FunctionServer
from tests.security.conftest import KEY


@pytest.mark.parametrize(
    "path", ["/tick", "/tick/", "/jobs/tick", "//tick", "/functions/tick", "/?function=tick", "/"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_no_path_of_the_interface_reaches_the_tick(
    clean: Services, gateway: FunctionServer, path: str, method: str
) -> None:
    """Not even with a key: it is not found, and no tick looks for work.

    Guards: `serverless.yml`, where the tick has a schedule and no route.
    """
    answer = httpx.request(method, gateway.url + path, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code in (404, 405)
    with psycopg.connect(clean.database_url) as sql:
        assert sql.execute("select count(*) from sweephand.ticks").fetchone() == (0,)
