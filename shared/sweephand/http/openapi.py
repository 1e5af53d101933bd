"""The OpenAPI 3.1 document, made from the models that check requests and from the routes."""

import re
from collections.abc import Mapping
from itertools import chain
from itertools import count as count_from
from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from sweephand.domain.handler import Handler
from sweephand.domain.job import MAX_RESULT, Status
from sweephand.domain.request import MAX_JOBS, JobRequest
from sweephand.http.routes import ROUTES
from sweephand.usecases.create import MAX_KEY
from sweephand.usecases.read import DEFAULT_LIMIT, MAX_LIMIT
from sweephand.version import VERSION

Json = dict[str, Any]


def document(handlers: Mapping[str, Handler]) -> Json:
    """Return the document for a deployment with these handlers."""
    schemas: Json = {
        "JobCard": _job_card(),
        "Job": _job(),
        "JobList": _object({"jobs": {"type": "array", "items": _ref("JobCard")}, "next_cursor": _or_null(_TEXT)}),
        "Problem": _problem(),
    }
    fixed = {**schemas, "JobRequest": {}, "BatchRequest": {}}
    requests: Json = {}
    for handler in sorted({each.name: each for each in handlers.values()}.values(), key=lambda each: each.name):
        made = _request(handler, fixed)
        fixed |= made
        schemas |= made
        requests |= dict.fromkeys((handler.name, *handler.aliases), _ref(next(reversed(made))))
    schemas["JobRequest"] = {
        "oneOf": [requests[name] for name in requests if handlers[name].name == name],
        "discriminator": {"propertyName": "type", "mapping": {name: ref["$ref"] for name, ref in requests.items()}},
    }
    batch = {"type": "array", "items": _ref("JobRequest"), "minItems": 1, "maxItems": MAX_JOBS}
    schemas["BatchRequest"] = {**_object({"jobs": batch}), "additionalProperties": False}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sweephand",
            "version": VERSION,
            "description": "A distributed task scheduler. Clients must accept fields and statuses that this "
            "document does not name: later versions add some, and take none away.",
        },
        # Relative to where it was fetched: a host that a request names is not ours to repeat.
        "servers": [{"url": "/", "description": "Where this document was fetched."}],
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


_TEXT: Json = {"type": "string"}
_TIME: Json = {"type": "string", "format": "date-time", "description": "UTC with Z and milliseconds."}
_ID: Json = {"type": "string", "format": "uuid"}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Json, required: list[str] | None = None) -> Json:
    return {"type": "object", "properties": properties, "required": required or list(properties)}


def _job_card() -> Json:
    count = {"type": "integer", "minimum": 0}
    return _object(
        {
            "id": _ID,
            "type": _TEXT,
            "status": {**_TEXT, "description": f"One of {', '.join(Status)}, or one of a later version."},
            "priority": count,
            "max_retries": count,
            "attempt": {**count, "description": "Starts so far."},
            "crashes": {**count, "description": "Those of them that were lost with their function."},
            "scheduled_at": {**_TIME, "description": "What was asked for."},
            "run_at": {**_TIME, "description": "When it is or was last due."},
            "expires_at": _or_null(_TIME),
            "created_at": _TIME,
            "started_at": _or_null(_TIME),
            "finished_at": _or_null(_TIME),
            "reason": {**_or_null(_TEXT), "description": "Why it failed."},
        }
    )


def _job() -> Json:
    error = _object({"attempt": {"type": "integer"}, "at": _TIME, "kind": _TEXT, "error": _TEXT})
    whole: Json = _object(
        {
            **_job_card()["properties"],
            "payload": {"type": "object"},
            "result": {"description": f"What the handler returned, at most {MAX_RESULT} bytes of JSON, or null."},
            "errors": {
                "type": "array",
                "items": error,
                "description": "Attempts that did not complete: the first and the last 20.",
            },
        }
    )
    return whole


def _explanation() -> Json:
    return _object(
        {
            "id": _ID,
            "status": _TEXT,
            "because": {"type": "array", "items": _TEXT, "description": "What matters most comes first."},
            "index": {**_TEXT, "description": "due, waiting, absent, away, unused, not asked, or a later word."},
        }
    )


def _problem() -> Json:
    fault = _object({"pointer": _TEXT, "detail": _TEXT})
    return _object(
        {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "errors": {"type": "array", "items": fault},
        },
        required=["type", "title", "status", "detail"],
    )


def _request(handler: Handler, taken: Json) -> Json:
    """Return the schemas of `handler`'s payload, of the payload's parts, and of a request, which is last.

    Each has a name of its own, which is its title too: two handlers may both call their model `Payload`, and
    generators of clients make a class of each title.
    """
    words = "".join(word.capitalize() for word in re.split(r"[_.-]+", handler.name))
    for prefix in chain([words], (f"{words}{count}" for count in count_from(2))):
        made = _schemas(handler, prefix)
        if not made.keys() & taken.keys():
            return made
    raise AssertionError  # the numbers do not end


def _schemas(handler: Handler, prefix: str) -> Json:
    payload_name, request_name = f"{prefix}Payload", f"{prefix}Request"
    try:
        payload = handler.payload.model_json_schema(ref_template=f"#/components/schemas/{prefix}Payload{{model}}")
    except PydanticInvalidForJsonSchema:
        payload = {"type": "object", "description": "Its model has checks that no schema can tell."}
    made: Json = {f"{payload_name}{name}": schema for name, schema in payload.pop("$defs", {}).items()}
    made[payload_name] = payload
    asked = JobRequest.model_json_schema()
    asked["properties"] |= {"type": _type(handler), "payload": _ref(payload_name)}
    made[request_name] = asked
    return {name: {**schema, "title": name} for name, schema in made.items()}


def _type(handler: Handler) -> Json:
    """Return the schema of a request's `type`: the handler's name, or one of its former names."""
    if not handler.aliases:
        return {"type": "string", "const": handler.name}
    return {
        "type": "string",
        "enum": [handler.name, *handler.aliases],
        "description": f"{handler.name}; the others are former names of it.",
    }


def _answers(ok: Json, *problems: int) -> Json:
    said: Json = {"description": "A problem (RFC 9457).", "content": {"application/problem+json": {}}}
    said["content"]["application/problem+json"]["schema"] = _ref("Problem")
    wait = {**said, "headers": {"Retry-After": {"schema": {"type": "integer"}}}}
    return {**ok, **{str(status): wait if status == 503 else said for status in problems}}  # noqa: PLR2004


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str, schema: Json, place: str = "query") -> Json:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _paths() -> Json:
    by_id = [_parameter("id", _ID, "path")]
    key = {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[ -~]+$"}
    created = _json("Created, and committed.", _ref("Job")) | {
        "headers": {"Location": {"schema": _TEXT}, "Idempotency-Replayed": {"schema": _TEXT}}
    }
    batch = _json(
        "Created, and committed: their cards, in order.",
        _object({"jobs": {"type": "array", "items": _ref("JobCard")}}),
    ) | {"headers": {"Idempotency-Replayed": {"schema": _TEXT}}}
    operations: dict[str, Json] = {
        "create_job": {
            "summary": "Create a job",
            "parameters": [_parameter("Idempotency-Key", key, "header")],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("JobRequest")}}},
            "responses": _answers({"201": created}, 400, 401, 409, 413, 415, 422, 503),
        },
        "create_jobs": {
            "summary": "Create many jobs, all or none",
            "parameters": [_parameter("Idempotency-Key", key, "header")],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("BatchRequest")}}},
            "responses": _answers({"201": batch}, 400, 401, 409, 413, 415, 422, 503),
        },
        "list_jobs": {
            "summary": "List jobs, latest created first",
            "parameters": [
                _parameter("status", {"type": "string", "enum": list(Status)}),
                _parameter("type", {"type": "string", "pattern": "^[a-z][a-z0-9_.-]{0,63}$"}),
                _parameter(
                    "limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
                ),
                _parameter("cursor", {**_TEXT, "description": "`next_cursor` of the page before."}),
            ],
            "responses": _answers({"200": _json("A page.", _ref("JobList"))}, 401, 422, 503),
        },
        "get_job": {
            "summary": "Get a job",
            "parameters": by_id,
            "responses": _answers({"200": _json("The job.", _ref("Job"))}, 401, 404, 503),
        },
        "explain_job": {
            "summary": "Ask why a job is where it is",
            "parameters": by_id,
            "responses": _answers({"200": _json("In words, for people.", _explanation())}, 401, 404, 503),
        },
        "cancel_job": {
            "summary": "Cancel a pending job",
            "parameters": by_id,
            "responses": _answers({"200": _json("Cancelled, now or before.", _ref("Job"))}, 401, 404, 409, 503),
        },
        "health": {
            "summary": "Ask whether the record answers",
            "security": [],
            "responses": _answers({"200": _json("It does.", _object({"status": _TEXT}))}, 503),
        },
        "openapi": {
            "summary": "Get this document",
            "security": [],
            "responses": _answers({"200": _json("This document.", {"type": "object"})}, 503),
        },
    }
    paths: Json = {}
    for (method, path), name in ROUTES.items():
        paths.setdefault(path, {})[method.lower()] = {"operationId": name, **operations[name]}
    return paths
