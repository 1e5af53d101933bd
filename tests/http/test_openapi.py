"""`GET /openapi.json`."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError  # type: ignore[import-untyped] # it ships no types
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

import functions
from infra.local.serving import serverless_yml
from sweephand import app
from sweephand.domain.handler import Handler, Isolation
from sweephand.http import openapi
from sweephand.http.routes import ROUTES
from sweephand.version import VERSION
from tests.http.api import Api, check, document
from tests.http.conftest import Configure

REQUEST = {"$ref": "#/components/schemas/JobRequest"}
EMAIL = {"to": "test@example.com", "subject": "Hello!", "message": "This is a test job."}


class Callback(BaseModel):
    """A payload that no schema can describe."""

    model_config = {"arbitrary_types_allowed": True}

    then: Callable[[], None] | None = None


def test_document_is_openapi_3_1(api: Api) -> None:
    """The document is valid, with every handler of the deployment in it."""
    found = api.get("/openapi.json").body
    OpenAPIV31SpecValidator(found).validate()
    assert found["openapi"] == "3.1.0"
    types = set(found["components"]["schemas"]["JobRequest"]["discriminator"]["mapping"])
    assert types == set(app.handlers())
    assert types >= {"anything", "email_notification", "generate_pdf", "http_request", "resize_image"}


def test_document_tells_clients_to_expect_more(api: Api) -> None:
    """Clients are told to accept fields and statuses that come later."""
    assert "must accept fields and statuses" in api.get("/openapi.json").body["info"]["description"]


def test_routes_are_those_that_are_deployed() -> None:
    """`serverless.yml`, the document and `main.py` name the same functions at the same places."""
    events = serverless_yml.read()
    deployed = {(route.method, route.path): route.function for route in events.routes if route.method != "HEAD"}
    assert deployed == dict(ROUTES)
    assert {*deployed.values(), events.catch_all, *(s.function for s in events.schedules)} == set(functions.NAMES)
    described = {
        (method.upper(), path): operation["operationId"]
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
    }
    assert described == deployed


def test_tick_has_no_route() -> None:
    """Nobody reaches the scheduled function through the API."""
    assert "tick" not in serverless_yml.read().http_functions


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"priority": 9, "max_retries": 100, "scheduled_at": "2026-01-31T18:30:00Z", "expires_at": None},
        {"priority": 1.0},
        {"payload": {"whatever": [1, {}]}},
        {"type": "email_notification", "payload": EMAIL},
        {"type": "email_notification", "payload": EMAIL | {"to": ["a@example.com", "b@example.com"]}},
    ],
)
def test_schema_and_api_accept_alike(api: Api, fields: dict[str, Any]) -> None:
    """What fits the document's request schema is created."""
    body = {"type": "anything", "payload": {}} | fields
    check(REQUEST, body)
    assert api.post(body).status == 201


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "no_such_type"},
        {"payload": []},
        {"priority": 10},
        {"priority": "1"},
        {"max_retries": 101},
        {"scheduled_at": 5},
        {"scheduled_at": "2026-01-31T18:30:00"},
        {"unknown": 1},
        {"type": "email_notification"},
        {"type": "email_notification", "payload": EMAIL | {"bcc": "a@example.com"}},
    ],
)
def test_schema_and_api_refuse_alike(api: Api, fields: dict[str, Any]) -> None:
    """What does not fit the document's request schema is refused."""
    body = {"type": "anything", "payload": {}} | fields
    with pytest.raises(ValidationError):
        check(REQUEST, body)
    assert api.post(body).status == 422


def test_payload_without_a_schema_is_any_object() -> None:
    """A model that no schema can describe does not take the document away from the others."""
    handler = Handler("odd", Callback, 1, Isolation.THREAD, lambda _payload, _ctx: None)
    made = openapi.document({"odd": handler})
    OpenAPIV31SpecValidator(made).validate()
    assert made["components"]["schemas"]["OddPayload"]["type"] == "object"


class Part(BaseModel):
    """A part of a payload, which has parts of its own."""

    deeper: "list[Part]" = []
    n: int = 1


class P(BaseModel):
    """A payload by a name that others use too."""

    text: str
    part: Part = Part()


def _named(name: str, payload: type[BaseModel] = P) -> Handler:
    return Handler(name, payload, 1, Isolation.THREAD, lambda _payload, _ctx: None)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object in `value`."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(each)


NAMES = ["p", "job", "batch", "a_b", "a.b", "a-b", "ab", "job_card", "problem", "a__b", "part", "x1", "x"]


def test_schemas_have_names_of_their_own() -> None:
    """Models of one name, and handlers whose names differ by a dot, get a schema each, titled by its own name."""
    made = openapi.document({name: _named(name) for name in NAMES})
    OpenAPIV31SpecValidator(made).validate()
    schemas = made["components"]["schemas"]
    titles = [schema["title"] for schema in schemas.values() if "title" in schema]
    assert len(titles) == len(set(titles))
    assert all(schema.get("title", name) == name for name, schema in schemas.items())
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) for name in schemas), list(schemas)
    mapping = schemas["JobRequest"]["discriminator"]["mapping"]
    assert set(mapping) == set(NAMES)
    for name, ref in mapping.items():
        assert schemas[ref.rpartition("/")[2]]["properties"]["type"]["const"] == name
    refs = {each["$ref"].rpartition("/")[2] for each in _objects(made) if "$ref" in each}
    assert refs <= set(schemas)


def test_what_has_a_default_is_not_required() -> None:
    """No object of the document requires a field that has a default."""
    made = openapi.document({**app.handlers(), "p": _named("p")})
    for each in _objects(made["components"]):
        required = each.get("required")
        with_default = [name for name, of in each.get("properties", {}).items() if "default" in of]
        assert not isinstance(required, list) or not set(required) & set(with_default), each


def test_document_says_where_it_is_and_which_version() -> None:
    """There is a server, relative to the document, and one version number for all."""
    made = openapi.document({})
    assert [server["url"] for server in made["servers"]] == ["/"]
    assert made["info"]["version"] == VERSION
    changelog = Path("CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changelog or f"## [{VERSION}]" in changelog


HEAVY = ("PIL", "fpdf", "obstore", "boto3", "markdown_it", "fontTools", "supabase", "pydantic_settings", "psycopg")
SERVES = """
import json, sys
import functions_framework
for name in ("create_job", "list_jobs", "get_job", "cancel_job", "health", "openapi", "not_found"):
    client = functions_framework.create_app(name, "main.py").test_client()
    sent = {"type": "email_notification", "payload": json.loads(sys.argv[1])}
    answer = client.post("/jobs", json=sent, headers={"Authorization": "Bearer first-key"})
    assert answer.status_code < 500, answer.data
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_api_functions_load_no_handlers_library(configure: Configure, api: Api) -> None:
    """What only handlers need, and every cold start would pay for, is not imported to serve the API."""
    command = [sys.executable, "-c", SERVES, json.dumps(EMAIL)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not set(json.loads(done.stdout)) & set(HEAVY)
