"""What goes to Google Cloud: Terraform files against the providers' real schema, and their meaning evaluated."""

import json
import os
import re
import shutil
import subprocess
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import hcl2
import pytest
import tfparse

import functions
from infra.local.services.service import accepts, free_port
from infra.local.services.services import Services
from infra.local.serving import serverless_yml
from infra.package.artifact import GOOGLE, build
from infra.package.target import Target, uv
from sweephand import settings as settings_module
from sweephand.layout import ROOT
from tests.deploy.lambda_runtime import unzip

FOLDER = ROOT / "infra/gcp"
META = frozenset({"count", "for_each", "depends_on", "lifecycle", "provider"})
"""Arguments that Terraform takes for every resource."""
ADDRESS = re.compile(r"google_cloudfunctions2_function\.api\[([\w.]+)\]\.service_config\[0\]\.uri")
Resource = dict[str, Any]


def parsed() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each file's name and content."""
    for file in sorted(FOLDER.glob("*.tf")):
        with file.open() as stream:
            yield file.name, hcl2.load(stream)


def resources() -> Iterator[tuple[str, str, Resource]]:
    """Yield the type, name and body of every resource, as written."""
    for _, content in parsed():
        for each in content.get("resource", []):
            for kind, named in each.items():
                for name, body in named.items():
                    yield kind.strip('"'), name.strip('"'), body


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Resource]]:
    """Return the files as they are with few variables."""
    return evaluated(tmp_path_factory.mktemp("gcp"))


def evaluated(root: Path, **variables: str | bool) -> dict[str, list[Resource]]:
    """Return the files evaluated: locals, for_each and variables' defaults; functions' addresses are made up."""
    folder = root / "infra/gcp"
    shutil.copytree(FOLDER, folder)
    shutil.copy(ROOT / "serverless.yml", root)
    gateway = folder / "gateway.tf"
    gateway.write_text(ADDRESS.sub(r'"https://${\1}.test"', gateway.read_text()))
    values = {
        "project": "a-project",
        "supabase_url": "https://p.supabase.co",
        "storage_prefixes": ["gs://pictures/in/", "gs://pictures/"],
        "alarm_email": "a@example.com",
        **variables,
    }
    (folder / "terraform.tfvars.json").write_text(json.dumps(values))
    found: dict[str, list[Resource]] = tfparse.load_from_path(str(folder), vars_paths=["terraform.tfvars.json"])
    return found


def local(plan: Mapping[str, list[Resource]], name: str) -> Any:
    """Return a local value."""
    return next(block[name] for block in plan["locals"] if name in block)


def one(plan: Mapping[str, list[Resource]], kind: str, name: str) -> Resource:
    """Return a resource by its name."""
    return next(each for each in plan[kind] if each["__tfmeta"]["path"].split(".")[1].partition("[")[0] == name)


def faults(body: Resource, schema: Mapping[str, Any], at: str) -> list[str]:
    """Return what of a resource or block is unknown or missing."""
    given = {name: value for name, value in body.items() if not name.startswith("__")}
    for dynamic in given.pop("dynamic", []):
        for name, block in dynamic.items():
            given[name.strip('"')] = block["content"] if isinstance(block, dict) else block[0]["content"]
    found = [f"{at}.{name} is unknown" for name in given if name not in schema and name not in META]
    found += [f"{at}.{name} is missing" for name, each in schema.items() if each["required"] and name not in given]
    for name, value in given.items():
        if "block" in schema.get(name, {}):
            for block in value if isinstance(value, list) else [value]:
                found += faults(block, schema[name]["block"], f"{at}.{name}")
    return found


SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "google_schema.json").read_text())


def test_every_argument_is_the_providers() -> None:
    """No resource or block has an argument that the provider does not know, or lacks one that it requires."""
    found = [fault for kind, name, body in resources() for fault in faults(body, SCHEMA[kind], f"{kind}.{name}")]
    assert not found


def test_the_schema_catches_mistakes() -> None:
    """The check above sees an argument that is misspelled, in a block too, and one that is left out."""
    body = {"region": "r", "http_target": [{"url": "x"}]}
    assert faults(body, SCHEMA["google_cloud_scheduler_job"], "job") == [
        "job.name is missing",
        "job.http_target.url is unknown",
        "job.http_target.uri is missing",
    ]


def test_every_reference_is_declared() -> None:
    """Every variable, local value and resource that the files mention is declared, and every variable is used."""
    text = "\n".join(file.read_text() for file in FOLDER.glob("*.tf"))
    declared = {f"{kind}.{name}" for kind, name, _ in resources()} | {"google_project.this"}
    mentioned = set(re.findall(r"\b(google_[a-z0-9_]+\.[a-z_]+)\b", text))
    assert {name for name in mentioned if name.partition(".")[0] in SCHEMA} <= declared
    variables = set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    assert set(re.findall(r"\bvar\.(\w+)", text)) == variables
    names = {name for _, content in parsed() for block in content.get("locals", []) for name in block}
    assert set(re.findall(r"\blocal\.(\w+)", text)) <= names


def test_one_function_for_each_of_ours(plan: dict[str, list[Resource]]) -> None:
    """Every function of main.py is deployed once under its entry point, for python3.13, from its own source."""
    made = {
        each["build_config"]["entry_point"]: each
        for each in plan["google_cloudfunctions2_function"]
        if each.get("build_config")
    }
    assert set(made) == set(functions.NAMES)
    assert {each["build_config"]["runtime"] for each in made.values()} == {"python313"}
    sources = {
        name: each["build_config"]["source"]["storage_source"]["object"]["__attribute__"]
        for name, each in made.items()
    }
    assert {name for name, source in sources.items() if "[tick]" in source} == {"tick"}


def test_the_gateway_has_the_routes(plan: dict[str, list[Resource]]) -> None:
    """The gateway's OpenAPI document sends each route to its function, everything else to the catch-all."""
    paths = local(plan, "openapi")["paths"]
    events = serverless_yml.read()
    unmatched = paths.pop("/{unmatched=**}")
    sent = {
        (method.upper(), path): operation["x-google-backend"]["address"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    assert sent == {(each.method, each.path): f"https://{each.function}.test" for each in events.routes}
    assert {each["x-google-backend"]["address"] for each in unmatched.values()} == {
        f"https://{events.catch_all}.test"
    }
    backends = [
        each["x-google-backend"] for operations in (*paths.values(), unmatched) for each in operations.values()
    ]
    assert all(each["path_translation"] == "APPEND_PATH_TO_ADDRESS" for each in backends)
    assert all(each["disable_auth"] is True for each in backends), "else the caller's Authorization is replaced"
    operations = [
        each["operationId"] for operations in (*paths.values(), unmatched) for each in operations.values()
    ]
    assert len(operations) == len(set(operations))


def test_the_minute_wakes_tick(plan: dict[str, list[Resource]]) -> None:
    """Cloud Scheduler calls tick every minute as its own identity, for tick's address alone, and never retries."""
    job = one(plan, "google_cloud_scheduler_job", "tick")
    assert (job["schedule"], job["time_zone"]) == ("* * * * *", "Etc/UTC")
    assert job["retry_config"]["retry_count"] == 0
    address = "google_cloudfunctions2_function.tick.service_config[0].uri"
    body = next(body for kind, _, body in resources() if kind == "google_cloud_scheduler_job")
    target = body["http_target"][0]
    assert address in target["uri"]
    assert address in target["oidc_token"][0]["audience"]
    assert "google_service_account.scheduler.email" in target["oidc_token"][0]["service_account_email"]
    tick = one(plan, "google_cloudfunctions2_function", "tick")["service_config"]
    assert job["attempt_deadline"] == f"{tick['timeout_seconds']}s"
    assert int(tick["environment_variables"]["TICK_BUDGET_SECONDS"]) < tick["timeout_seconds"]
    assert tick["ingress_settings"] == "ALLOW_INTERNAL_ONLY"
    assert tick["max_instance_request_concurrency"] == 1


def test_who_may_call_what() -> None:
    """The scheduler's identity alone may call tick; the API's functions are open and check keys themselves."""
    members = {name: body for kind, name, body in resources() if kind == "google_cloud_run_v2_service_iam_member"}
    callers = members["tick"]["for_each"]
    assert "scheduler = google_service_account.scheduler.member" in callers.replace('"', "")
    assert "var.max_drainers > 0 ? {tick = google_service_account.tick.member} : {}" in callers.replace('"', "")
    assert "google_cloudfunctions2_function.tick.name" in members["tick"]["name"]
    named = {(kind, name): body for kind, name, body in resources()}
    assert "google_service_account.api.member" in named["google_project_iam_member", "wake"]["member"]
    wake = named["google_project_iam_custom_role", "wake"]["permissions"]
    assert [permission.strip('"') for permission in wake] == ["cloudscheduler.jobs.run"]
    assert members["api"]["member"].strip('"') == "allUsers"
    assert "tick" not in json.dumps(members["api"])


def test_secrets_go_where_they_are_used(plan: dict[str, list[Resource]]) -> None:
    """No secret is a variable or a plain setting; each function is given those it uses, and may read no other."""
    secrets = local(plan, "secrets")
    given = local(plan, "secrets_of")
    for function, names in given.items():
        for name in names:
            assert ("tick" if function == "tick" else "api") in secrets[name]
    assert set(given) == set(functions.NAMES)
    plain = [
        each.get("service_config", {}).get("environment_variables", {})
        for each in plan["google_cloudfunctions2_function"]
    ]
    assert not {name for each in plain for name in each} & set(secrets)
    known = (ROOT / "shared/sweephand/settings.py").read_text()
    names = {name for each in plain for name in each} | set(secrets)
    assert all(f'"{name}"' in known for name in names), settings_module.__name__


def test_tick_may_reach_postgresql_itself(plan: dict[str, list[Resource]], tmp_path: Path) -> None:
    """With `tick_store=direct` there is a secret for DATABASE_URL, which tick alone is given; else none."""
    assert "DATABASE_URL" not in local(plan, "secrets")
    direct = evaluated(tmp_path, tick_store="direct")
    assert local(direct, "secrets")["DATABASE_URL"] == ["tick"]
    assert {name for name, secrets in local(direct, "secrets_of").items() if "DATABASE_URL" in secrets} == {"tick"}
    for made, store in ((plan, "rest"), (direct, "direct")):
        tick = one(made, "google_cloudfunctions2_function", "tick")
        assert tick["service_config"]["environment_variables"]["STORE"] == store


def test_a_new_job_wakes_the_schedule(plan: dict[str, list[Resource]], tmp_path: Path) -> None:
    """What creates jobs names the schedule's own job, unless `wake` is off."""
    for made, wakes in ((plan, True), (evaluated(tmp_path, wake=False), False)):
        job = one(made, "google_cloud_scheduler_job", "tick")
        url = f"scheduler:projects/a-project/locations/{job['region']}/jobs/{job['name']}"
        creating = local(made, "settings")["create_job"]
        assert creating["WAKE_URL"] == (url if wakes else "")
        assert creating["LINGER_SECONDS"] == "70"
        assert creating["TICK_BUDGET_SECONDS"] == "285"


def test_tick_signs_where_there_are_keys(plan: dict[str, list[Resource]], tmp_path: Path) -> None:
    """With `webhook_signing` there is a secret for the keys, which tick alone is given; else none."""
    assert "WEBHOOK_SIGNING_KEYS" not in local(plan, "secrets")
    signing = evaluated(tmp_path, webhook_signing=True)
    assert local(signing, "secrets")["WEBHOOK_SIGNING_KEYS"] == ["tick"]
    given = local(signing, "secrets_of")
    assert {name for name, secrets in given.items() if "WEBHOOK_SIGNING_KEYS" in secrets} == {"tick"}


def test_storage_below_the_prefixes_only(plan: dict[str, list[Resource]]) -> None:
    """Tick's identity reaches objects below each prefix, and no other of the bucket."""
    made = plan["google_storage_bucket_iam_member"]
    assert {(each["bucket"], each["condition"]["expression"]) for each in made} == {
        ("pictures", 'resource.name.startsWith("projects/_/buckets/pictures/objects/in/")'),
        ("pictures", 'resource.name.startsWith("projects/_/buckets/pictures/objects/")'),
    }


def test_alarms_ring_for_what_matters(plan: dict[str, list[Resource]]) -> None:
    """Five policies notify one channel: no tick in 5 minutes, errors, old due jobs, failed jobs, lost calls."""
    policies = plan["google_monitoring_alert_policy"]
    titles = {each["display_name"].partition(": ")[2] for each in policies}
    assert titles == {
        "tick has not run for 5 minutes",
        "a tick ended with an error",
        "a job has been due for too long",
        "jobs ended as failed",
        "the schedule could not wake tick",
    }
    absent = next(each["conditions"]["condition_absent"] for each in policies if "not run" in each["display_name"])
    assert absent["duration"] == "300s"
    assert len(plan["google_monitoring_notification_channel"]) == 1


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both source archives unpacked, each beside an environment of what it lists."""
    folder = tmp_path_factory.mktemp("google")
    for kind in GOOGLE:
        unzip(build(kind, Target.here(), folder).file, folder / kind.name)
        environment = folder / f"{kind.name}-environment"
        venv.create(environment, symlinks=True, with_pip=False)
        listed = ["-r", str(folder / kind.name / "requirements.txt"), "--require-hashes"]
        subprocess.run([uv(), "pip", "install", "-q", "--python", str(environment), *listed], check=True)
    return folder


@contextmanager
def served(archives: Path, archive: str, target: str, env: Mapping[str, str]) -> Iterator[int]:
    """Serve one function of an unpacked archive as Google's image does; yield the port."""
    port = free_port()
    folder = archives / archive
    program = archives / f"{archive}-environment/bin/functions-framework"
    with (archives / f"{target}.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--target", target, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], **env},
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + 30
        while not accepts(port):
            assert process.poll() is None, (archives / f"{target}.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": "Bearer key", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    return answer.status, said


def test_the_archives_answer(archives: Path, clean: Services) -> None:
    """Unpacked where only what they list is installed, create_job, get_job and tick do a job together."""
    env = {**clean.env, "SWEEPHAND_API_KEYS": "key", "TICK_BUDGET_SECONDS": "100", "MAIL_FROM": "m@example.com"}
    job = {"type": "email_notification", "payload": {"to": "a@example.com", "subject": "s", "message": "m"}}
    with served(archives, "api", "create_job", env) as port:
        status, made = ask(port, "POST", "/jobs", job)
    assert status == 201
    with served(archives, "tick", "tick", env) as port:
        status, report = ask(port, "POST", "/", {})
    assert (status, report["completed"]) == (200, 1)
    with served(archives, "api", "get_job", env) as port:
        assert ask(port, "GET", f"/jobs/{made['id']}")[1]["status"] == "completed"
    # Cloud Logging makes the metrics of a line on standard output that is one JSON object.
    printed = [line for line in (archives / "tick.log").read_text().splitlines() if line.startswith("{")]
    assert [json.loads(line)["completed"] for line in printed] == [1]


def test_archives_carry_what_they_need(archives: Path) -> None:
    """Both hold the code and a locked list; only tick's has the fonts, neither tests nor the command line."""
    for name, fonts in (("api", False), ("tick", True)):
        folder = archives / name
        assert (folder / "main.py").exists()
        assert "--hash=sha256:" in (folder / "requirements.txt").read_text()
        assert (folder / "sweephand/handlers/fonts/DejaVuSans.ttf").exists() is fonts
        assert not [path for path in ("tests", "sweephand/infra") if (folder / path).exists()]
