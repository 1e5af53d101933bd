"""What is said of a tick."""

import json
import socket
import time

import httpx
import pytest

from infra.local.serving.scheduler import MOST, Scheduler, TriggerServer, describe


def test_idle_tick_is_not_told() -> None:
    """A minute without a due job is no news."""
    report = {"claimed": 0, "started": 0, "completed": 0, "stopped": "drained", "duration_ms": 3}
    assert describe(200, json.dumps(report).encode()) is None


def test_tick_that_worked_is_one_line() -> None:
    """Counts above zero are told, with how long it took and why it stopped."""
    report = {"started": 3, "completed": 2, "retried": 1, "failed": 0, "stopped": "budget", "duration_ms": 1234}
    line = describe(200, json.dumps(report).encode())
    assert line == "tick: 3 started, 2 completed, 1 retried in 1.2 s (budget)"


@pytest.mark.parametrize(("status", "body"), [(500, b"oops"), (503, b'{"title": "record down"}'), (200, b"[]")])
def test_failed_tick_is_told_with_its_answer(status: int, body: bytes) -> None:
    """An answer that is no report is shown as it came."""
    assert describe(status, body) == f"tick answered {status}: {body.decode()}"


def test_ticks_overlap_up_to_a_limit() -> None:
    """A tick does not wait for the one before, but of many slow ones no more than MOST are under way."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said: list[str] = []
        scheduler = Scheduler(silent.getsockname()[1], 0.001, said.append)
        while not said:
            scheduler.poll()
            time.sleep(0.002)
        callers = [silent.accept()[0] for _ in range(MOST)]
        scheduler.poll()
        assert said == [f"no further ticks while {MOST} are under way"]
        for caller in callers:
            caller.close()
        while len(said) <= MOST:
            time.sleep(0.01)
        assert all(line.startswith("tick got no answer") for line in said[1:])


class Called(Scheduler):
    """A scheduler that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(0, 60, lambda _line: None)
        self.calls = 0

    def run_now(self) -> None:
        """Count."""
        self.calls += 1


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example:80"},
    ],
)
def test_no_page_wakes_a_tick(sent: dict[str, str]) -> None:
    """Where WAKE_URL leads takes the API's own post, and none that a browser sends for a page."""
    scheduler = Called()
    with TriggerServer(scheduler) as server:
        assert httpx.post(server.url, headers=sent).status_code == 403
        assert scheduler.calls == 0
        assert httpx.post(server.url).status_code == 200
    assert scheduler.calls == 1
