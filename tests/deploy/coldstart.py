"""Measures cold starts of the built functions beside bare ones: `make coldstart`.

From the process's start to its first answer, on this machine, with the local PostgreSQL, PostgREST and Valkey
behind; the median of several. A cloud adds its own time to place and start a sandbox, the same for all.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.local.services.services import Services
from infra.package import archive, bytecode, tree
from infra.package.artifact import AWS, REQUIREMENTS, build
from infra.package.target import Target
from tests.deploy.lambda_runtime import Answer, Function, Machine, http_event, schedule_event, unzip

ROUNDS = 7
KEY = "coldstart"
HELLO = {
    "hello.py": """
def hello(request):
    return {"hello": request.path}
""",
    "bare.py": """
import functions_framework
from apig_wsgi import make_lambda_handler

handler = make_lambda_handler(functions_framework.create_app("hello", "hello.py"))
""",
}
CLIENTS = {
    "bare.py": """
import postgrest
import redis


def handler(event, context):
    return {"clients": [redis.__name__, postgrest.__name__]}
"""
}
GOALS = {"create_job": ("hello", 2.0), "tick": ("clients", 1.5)}
"""What each is measured against, and how many times as long it may take."""


def main() -> int:
    """Print the table; return 1 when a goal is missed."""
    with tempfile.TemporaryDirectory() as scratch, Services(Path(scratch) / "stack") as stack:
        medians = measure(Path(scratch), stack.env)
    lines = [f"{'function':17} {'ms':>5}", *(f"{name:17} {each:5.0f}" for name, each in medians.items())]
    missed = False
    for name, (base, goal) in GOALS.items():
        ratio = medians[name] / medians[base]
        missed |= ratio > goal
        lines.append(f"{name} takes {ratio:.2f} times as long as {base}; the goal is {goal:g}")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(missed)


def measure(folder: Path, env: Mapping[str, str], rounds: int = ROUNDS) -> dict[str, float]:
    """Build everything in `folder` and return each function's median in ms."""
    machine = Machine.make(folder / "machine")
    api, tick = (unzip(build(kind, Target.here(), folder).file, folder / kind.name) for kind in AWS)
    env = {**env, "SWEEPHAND_API_KEYS": KEY, "TICK_BUDGET_SECONDS": "100", "LINGER_SECONDS": "0"}
    job = {"type": "email_notification", "payload": {"to": "a@example.com", "subject": "s", "message": "m"}}
    create = http_event(
        "POST",
        "/jobs",
        body=json.dumps(job).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )
    runs: dict[str, tuple[Path, str, Any, Callable[[Answer], bool]]] = {
        "hello": (_bare(folder, HELLO, "api.txt"), "bare.handler", http_event("GET", "/"), _is(200)),
        "clients": (_bare(folder, CLIENTS, "aws-api.txt"), "bare.handler", {}, lambda answer: not answer.error),
        "create_job": (api, "sweephand.infra.aws.api.create_job", create, _is(201)),
        "get_job": (api, "sweephand.infra.aws.api.get_job", http_event("GET", "/jobs/x"), _is(401)),
        "not_found": (api, "sweephand.infra.aws.api.not_found", http_event("GET", "/x"), _is(404)),
        "tick": (tick, "sweephand.infra.aws.tick.handler", schedule_event(), lambda answer: not answer.error),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):  # in turn, so that a slow moment of the machine meets all alike
        for name, (task, handler, event, right) in runs.items():
            with Function(machine, task, handler, env, folder / f"{name}.log") as function:
                answer = function.invoke(event, remaining=100)
                again = function.invoke(event, remaining=100)
            assert right(answer), (name, answer.body, (folder / f"{name}.log").read_text()[-2000:])
            times[name].append(answer.seconds * 1000)
            times.setdefault(f"{name}, warm", []).append(again.seconds * 1000)
    return {name: statistics.median(each) for name, each in times.items()}


def _bare(folder: Path, files: Mapping[str, str], requirements: str) -> Path:
    """Build a module `bare` in the way that artifacts are built; return it unpacked."""
    source = folder / f"bare-{requirements}"
    source.mkdir()
    for name, code in files.items():
        (source / name).write_text(code)
    names = ["aws-api.txt", requirements] if requirements == "api.txt" else [requirements]
    for name in names:
        tree.install(REQUIREMENTS / name, source, Target.here())
    bytecode.compile_folder(source, sys.executable)
    archive.write(source, source.with_suffix(".zip"))
    return unzip(source.with_suffix(".zip"), folder / f"unzipped-{requirements}")


def _is(status: int) -> Callable[[Answer], bool]:
    return lambda answer: not answer.error and answer.body["statusCode"] == status


if __name__ == "__main__":
    sys.exit(main())
