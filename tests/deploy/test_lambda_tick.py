"""The tick's artifact under AWS's own runtime client, on the real PostgREST and Valkey."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import redis

from infra.local.services.services import Services
from tests.deploy.conftest import KEY, Boot
from tests.deploy.lambda_runtime import Machine, http_event, schedule_event

MAIL = {"type": "email_notification", "payload": {"to": "a@example.com", "subject": "Hi", "message": "m"}}

STUCK = '''
import time

from pydantic import BaseModel

from sweephand import handler


class Nothing(BaseModel):
    """No fields."""


@handler("stuck", payload=Nothing, timeout=0.2)
def stuck(payload, ctx):
    time.sleep(60)
'''


def create(boot: Boot, job: object, **env: str) -> str:
    """Create a job through the API's artifact and return its id."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    event = http_event("POST", "/jobs", body=json.dumps(job).encode(), headers=headers)
    answer = boot("api", "sweephand.infra.aws.api.create_job", **env).invoke(event)
    assert answer.body["statusCode"] == 201, answer.body
    return str(json.loads(answer.body["body"])["id"])


def state(boot: Boot, job_id: str) -> dict[str, Any]:
    """Return a job as the API's artifact tells it."""
    event = http_event("GET", f"/jobs/{job_id}", headers={"Authorization": f"Bearer {KEY}"})
    answer: dict[str, Any] = json.loads(boot("api", "sweephand.infra.aws.api.get_job").invoke(event).body["body"])
    return answer


def test_create_tick_get(boot: Boot, clean: Services) -> None:
    """A mail and a PDF that were created through the API are done by one tick: in a thread and in a process."""
    mail = create(boot, MAIL)
    target = f"{(clean.folder.path / 'objects').as_uri()}/report.pdf"
    pdf = create(boot, {"type": "generate_pdf", "payload": {"title": "R", "markdown": "# Äpfel", "target": target}})
    tick = boot("tick", "sweephand.infra.aws.tick.handler", MAIL_FROM="sweephand@example.com")
    answer = tick.invoke(schedule_event(), remaining=90)
    assert not answer.error, answer.body
    assert (answer.body["started"], answer.body["completed"], answer.body["stopped"]) == (2, 2, "drained")
    assert [state(boot, job)["status"] for job in (mail, pdf)] == ["completed", "completed"]
    letter = message_from_bytes(next((clean.folder.path / "outbox").iterdir()).read_bytes(), policy=default)
    assert letter["Subject"] == "Hi"
    assert (clean.folder.path / "objects/report.pdf").read_bytes().startswith(b"%PDF")


def test_the_report_is_one_line_with_its_metrics(boot: Boot, clean: Services) -> None:
    """A tick logs one JSON line: its report, and which of its numbers CloudWatch is to take as metrics."""
    tick = boot("tick", "sweephand.infra.aws.tick.handler")
    answer = tick.invoke(schedule_event())
    [line] = tick.printed()
    assert {name: line[name] for name in answer.body} == answer.body
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["FunctionName"]]
    assert line["FunctionName"] == "sweephand-test"
    assert all(isinstance(line[metric["Name"]], int | float) for metric in directive["Metrics"])


def test_three_seconds_are_enough_to_end(boot: Boot, clean: Services) -> None:
    """With 3 s left a tick starts nothing that could not end, leaves it due, and ends in time."""
    tick = boot("tick", "sweephand.infra.aws.tick.handler", MAIL_FROM="sweephand@example.com")
    assert not tick.invoke(schedule_event()).error  # a warm process: a start is no part of the time limit
    job = create(boot, MAIL)
    answer = tick.invoke(schedule_event(), remaining=3)
    assert not answer.error
    assert answer.seconds < 3
    assert answer.body["budget_ms"] <= 2000
    assert (answer.body["started"], answer.body["stopped"]) == (0, "budget")
    assert state(boot, job)["status"] == "pending"
    assert tick.invoke(schedule_event(), remaining=60).body["completed"] == 1


@contextmanager
def counted(port: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a proxy of the server at `port`, and the paths that it has passed on."""
    paths: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            paths.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            upstream = HTTPConnection("127.0.0.1", port)
            upstream.request("POST", self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            said = answer.read()
            upstream.close()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_args: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
        server.shutdown()


def test_an_idle_warm_tick_costs_two_calls(boot: Boot, clean: Services) -> None:
    """In a warm process, a tick with nothing to do costs one Redis command and one call of the record."""
    with counted(clean.supabase_gateway.port) as (url, paths), redis.Redis.from_url(clean.valkey.url) as client:
        tick = boot("tick", "sweephand.infra.aws.tick.handler", SUPABASE_URL=url)
        assert not tick.invoke(schedule_event()).error
        paths.clear()
        client.config_resetstat()
        assert tick.invoke(schedule_event()).body["stopped"] == "drained"
        stats = client.info("commandstats")
        assert paths == ["/rest/v1/rpc/sweephand_restore_v1"]
        assert stats["cmdstat_evalsha"]["calls"] == 1
        assert not {"cmdstat_eval", "cmdstat_script|load", "cmdstat_hello", "cmdstat_auth"} & set(stats)
        tick.end()


def test_a_record_that_is_away_is_an_error(boot: Boot, clean: Services) -> None:
    """A tick that cannot reach the record fails, so that Lambda counts an error and the alarm rings."""
    tick = boot("tick", "sweephand.infra.aws.tick.handler", SUPABASE_URL="http://127.0.0.1:9")
    answer = tick.invoke(schedule_event(), remaining=4)
    assert answer.error
    assert answer.body["errorType"] == "RecordUnavailableError"


def test_a_stuck_handler_retires_its_process(boot: Boot, clean: Services, machine: Machine, tmp_path: Path) -> None:
    """A thread that overran its limit ends its process, once the tick has reported; the next tick has a new one."""
    (tmp_path / "stuck_jobs.py").write_text(STUCK)
    env = {"HANDLERS": "stuck_jobs", "PYTHONPATH": f"{machine.runtime}:{tmp_path}"}
    create(boot, {"type": "stuck", "payload": {}, "max_retries": 0}, **env)
    tick = boot("tick", "sweephand.infra.aws.tick.handler", **env)
    answer = tick.invoke(schedule_event())
    assert answer.error
    assert answer.body == {"errorType": "Runtime.ExitError", "status": 1}
    [report] = tick.printed()
    assert (report["started"], report["stuck"]) == (1, 1)
    assert not tick.running
    assert not tick.invoke(schedule_event()).error
