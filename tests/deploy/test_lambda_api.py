"""The API's artifact under AWS's own runtime client, on the real PostgREST and Valkey."""

import base64
import json
from typing import Any

import pytest
import redis

from infra.local.services.services import Services
from infra.local.serving import serverless_yml
from sweephand.http.routes import ROUTES
from tests.deploy.conftest import KEY, Boot
from tests.deploy.lambda_runtime import Answer, http_event

MAIL = {"type": "email_notification", "payload": {"to": "a@example.com", "subject": "s", "message": "m"}}
SIGNED = {"Authorization": f"Bearer {KEY}"}


def body_of(answer: Answer) -> Any:
    """Return the JSON of an HTTP answer, which went out as text."""
    assert not answer.error, answer.body
    assert answer.body["isBase64Encoded"] is False
    return json.loads(answer.body["body"])


def post(job: object) -> dict[str, Any]:
    """Return a request for `job`."""
    headers = {**SIGNED, "Content-Type": "application/json"}
    return http_event("POST", "/jobs", body=json.dumps(job).encode(), headers=headers, route="POST /jobs")


def test_create_get_list_cancel(boot: Boot, clean: Services) -> None:
    """A job is created, indexed, read, listed and cancelled, each by its own function."""
    made = boot("api", "sweephand.infra.aws.api.create_job").invoke(post(MAIL))
    assert made.body["statusCode"] == 201
    job = body_of(made)
    assert made.body["headers"]["location"] == f"/jobs/{job['id']}"
    with redis.Redis.from_url(clean.valkey.url) as client:
        assert [client.zcard(key) for key in client.scan_iter("sweephand:*:due:*")] == [1]

    path = f"/jobs/{job['id']}"
    read = boot("api", "sweephand.infra.aws.api.get_job").invoke(http_event("GET", path, headers=SIGNED))
    assert body_of(read)["payload"] == MAIL["payload"]

    listed = boot("api", "sweephand.infra.aws.api.list_jobs").invoke(
        http_event("GET", "/jobs", headers=SIGNED, query="status=pending&limit=5")
    )
    assert [each["id"] for each in body_of(listed)["jobs"]] == [job["id"]]

    cancelled = boot("api", "sweephand.infra.aws.api.cancel_job").invoke(
        http_event("PUT", f"{path}/cancel", headers=SIGNED)
    )
    assert body_of(cancelled)["status"] == "cancelled"


def test_health_and_document(boot: Boot, clean: Services) -> None:
    """The record's health and the OpenAPI document answer without a key."""
    assert body_of(boot("api", "sweephand.infra.aws.api.health").invoke(http_event("GET", "/health"))) == {
        "status": "ok"
    }
    document = body_of(boot("api", "sweephand.infra.aws.api.openapi").invoke(http_event("GET", "/openapi.json")))
    assert set(document["paths"]) == {path for _, path in ROUTES}


def test_every_function_boots(boot: Boot, clean: Services) -> None:
    """Each HTTP function of serverless.yml answers as itself, and none with an internal error."""
    for name in serverless_yml.read().http_functions:
        answer = boot("api", f"sweephand.infra.aws.api.{name}").invoke(http_event("GET", "/jobs/nothing"))
        assert answer.body["statusCode"] < 500, (name, answer.body)


def test_a_body_in_base64_is_the_body(boot: Boot, clean: Services) -> None:
    """Text in any script arrives as it was sent, in base64 or plain, as HTTP APIs use both."""
    create = boot("api", "sweephand.infra.aws.api.create_job")
    job = {**MAIL, "payload": {**MAIL["payload"], "subject": "Grüße 🎈"}}  # type: ignore[dict-item]
    encoded = post(job)
    plain = {
        **encoded,
        "body": base64.b64decode(encoded["body"]).decode(),
        "isBase64Encoded": False,
    }
    for event in (encoded, plain):
        answer = create.invoke(event)
        assert answer.body["statusCode"] == 201, answer.body
        assert body_of(answer)["payload"]["subject"] == "Grüße 🎈"


def test_a_query_given_twice_is_refused(boot: Boot, clean: Services) -> None:
    """A parameter with several values is seen as several, not as one with a comma."""
    answer = boot("api", "sweephand.infra.aws.api.list_jobs").invoke(
        http_event("GET", "/jobs", headers=SIGNED, query="limit=5&limit=6")
    )
    assert answer.body["statusCode"] == 422
    assert body_of(answer)["errors"] == [{"pointer": "limit", "detail": "given twice"}]


@pytest.mark.parametrize(
    ("request_line", "status", "allow"),
    [
        ("DELETE /jobs", 405, "POST, GET, HEAD, OPTIONS"),
        ("PATCH /jobs/1", 405, "GET, HEAD, OPTIONS"),
        ("GET /nothing", 404, None),
    ],
)
def test_what_no_route_takes(
    boot: Boot, clean: Services, request_line: str, status: int, allow: str | None
) -> None:
    """The catch-all tells a wrong method from a wrong path, as a problem in plain text."""
    answer = boot("api", "sweephand.infra.aws.api.not_found").invoke(http_event(*request_line.split()))
    assert answer.body["statusCode"] == status
    assert answer.body["headers"].get("allow") == allow
    assert answer.body["headers"]["content-type"] == "application/problem+json"
    assert body_of(answer)["status"] == status


@pytest.mark.parametrize("path", ["/é", "/€", "/jobs/🎈", "/jobs/\udfff"])
def test_path_in_any_script_leads_to_nothing(boot: Boot, clean: Services, path: str) -> None:
    """API Gateway decodes a path; what no Latin text can hold is a 404 and no error of the function."""
    name = "get_job" if path.startswith("/jobs/") else "not_found"
    answer = boot("api", f"sweephand.infra.aws.api.{name}").invoke(http_event("GET", path, headers=SIGNED))
    assert (answer.error, answer.body["statusCode"]) == (False, 404)


def test_no_key_no_service(boot: Boot, clean: Services) -> None:
    """Without configured keys every call is refused; without a record, health says so and the log says why."""
    keyless = boot("api", "sweephand.infra.aws.api.list_jobs", SWEEPHAND_API_KEYS="")
    assert keyless.invoke(http_event("GET", "/jobs", headers=SIGNED)).body["statusCode"] == 401
    unset = boot("api", "sweephand.infra.aws.api.health", SUPABASE_URL="")
    answer = unset.invoke(http_event("GET", "/health"))
    assert answer.body["statusCode"] == 503
    assert "SUPABASE_URL is not set" in unset.log.read_text()
    assert "SUPABASE_URL" not in answer.body["body"]


def test_an_unknown_function_does_not_start(boot: Boot, clean: Services) -> None:
    """A handler's name that is no function ends the process in its init phase."""
    answer = boot("api", "sweephand.infra.aws.api.nothing").invoke(http_event("GET", "/"))
    assert answer.error
    assert answer.body["errorType"] == "Runtime.ExitError"
