"""The HTTP interface, with every answer held to the OpenAPI document."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import functions_framework
from flask import Flask
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped] # it ships no types
from werkzeug.test import TestResponse

from infra.local.serving import serverless_yml
from infra.local.serving.route_gateway import Gateway

SOURCE = Path(__file__).parents[2] / "main.py"
KEY = "first-key"
OTHER_KEY = "second-key"
PROBLEM = "application/problem+json"
GATEWAY = Gateway(serverless_yml.read(), {})
"""The routes, read once: the file takes longer to read than a request to answer."""


@functools.cache
def app(function: str) -> Flask:
    """Return functions-framework's application for one function of `main.py`, as a cloud makes it."""
    made: Flask = functions_framework.create_app(function, str(SOURCE))  # type: ignore[no-untyped-call]
    return made


@functools.cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document of the deployment under test."""
    made: dict[str, Any] = json.loads(app("openapi").test_client().get("/openapi.json").data)
    return made


def check(schema: dict[str, Any], value: object) -> None:
    """Raise unless `value` fits `schema`, which may refer to the document's components."""
    _validator(json.dumps(schema)).validate(value)


@functools.cache
def _validator(schema: str) -> Draft202012Validator:
    full = json.loads(schema) | {"components": document()["components"]}
    return Draft202012Validator(full, format_checker=FormatChecker())


@dataclass(frozen=True)
class Answer:
    """A response, read."""

    status: int
    headers: dict[str, str]
    body: Any
    text: str

    @property
    def pointers(self) -> list[str]:
        """Where a 422 says the faults are."""
        return [fault["pointer"] for fault in self.body["errors"]]


@dataclass(frozen=True)
class Api:
    """Calls the functions as a cloud does, each in its own application."""

    key: str | None = KEY
    gateway: Gateway = GATEWAY

    def call(self, method: str, path: str, **options: Any) -> Answer:
        """Send a request with the key, and hold the answer to the document."""
        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        headers |= options.pop("headers", {})
        function = self.gateway.function(method, path)
        assert function is not None
        response = app(function).test_client().open(path, method=method, headers=headers, **options)
        return checked(function, method, response)

    def post(self, body: object = None, *, data: bytes | str | None = None, **headers: str) -> Answer:
        """Send `POST /jobs` with a body, as JSON or as these bytes; `_` in a header's name stands for `-`."""
        sent = data if data is not None else json.dumps(body)
        named = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self.call("POST", "/jobs", data=sent, headers=named)

    def create(self, **fields: Any) -> dict[str, Any]:
        """Create a job and return it."""
        answer = self.post({"type": "anything", "payload": {}} | fields)
        assert answer.status == 201, answer.text
        job: dict[str, Any] = answer.body
        return job

    def get(self, path: str, **query: Any) -> Answer:
        """Send a GET."""
        return self.call("GET", path, query_string=query)

    def cancel(self, job: str) -> Answer:
        """Send `PUT /jobs/{id}/cancel`."""
        return self.call("PUT", f"/jobs/{job}/cancel")

    def pages(self, **query: Any) -> list[list[str]]:
        """Return the ids of each page of a list, followed to its end."""
        found: list[list[str]] = []
        cursor: dict[str, Any] = {}
        while True:
            answer = self.get("/jobs", **query, **cursor)
            assert answer.status == 200, answer.text
            found.append([job["id"] for job in answer.body["jobs"]])
            if answer.body["next_cursor"] is None:
                return found
            cursor = {"cursor": answer.body["next_cursor"]}


def checked(function: str, method: str, response: TestResponse) -> Answer:
    """Return the answer, which must be one that the document tells of."""
    text = response.get_data(as_text=True)
    assert "Traceback" not in text
    body = json.loads(text)
    kind = response.headers["Content-Type"]
    if function == "not_found":
        assert kind == PROBLEM
        check({"$ref": "#/components/schemas/Problem"}, body)
    else:
        (operation,) = (
            path[method.lower()]
            for path in document()["paths"].values()
            if path.get(method.lower(), {}).get("operationId") == function
        )
        check(operation["responses"][str(response.status_code)]["content"][kind]["schema"], body)
    if kind == PROBLEM:
        assert body["status"] == response.status_code
        assert body["type"].startswith("urn:sweephand:problem:")
    return Answer(response.status_code, dict(response.headers), body, text)
