"""The OpenAPI 3.1 document, made from the routes and from the models that validate requests."""

import re
from collections.abc import Mapping
from itertools import chain
from itertools import count as count_from

from pydantic.errors import PydanticInvalidForJsonSchema

from sweephand.domain.handler import Handler
from sweephand.domain.job import MAX_RESULT, Status
from sweephand.domain.request import MAX_JOBS, JobRequest
from sweephand.http.openapi_parts import (
    TEXT,
    TIME,
    Json,
    answers,
    content,
    parameter,
    ref,
    schema_object,
    with_null,
)
from sweephand.http.openapi_schedules import schedule_operations, schedule_schemas
from sweephand.http.routes import ROUTES
from sweephand.usecases.create import MAX_KEY
from sweephand.usecases.read import DEFAULT_LIMIT, MAX_LIMIT
from sweephand.version import VERSION


def document(handlers: Mapping[str, Handler]) -> Json:
    """Return the document for a deployment with these handlers."""
    schemas: Json = {
        "JobCard": _job_card(),
        "Job": _job(),
        "JobList": schema_object(
            {"jobs": {"type": "array", "items": ref("JobCard")}, "next_cursor": with_null(TEXT)}
        ),
        "Problem": _problem(),
        **schedule_schemas(),
    }
    fixed = {**schemas, "JobRequest": {}, "BatchRequest": {}}
    requests: Json = {}
    for handler in sorted({each.name: each for each in handlers.values()}.values(), key=lambda each: each.name):
        made = _request(handler, fixed)
        fixed |= made
        schemas |= made
        requests |= dict.fromkeys((handler.name, *handler.aliases), ref(next(reversed(made))))
    schemas["JobRequest"] = {
        "oneOf": [requests[name] for name in requests if handlers[name].name == name],
        "discriminator": {"propertyName": "type", "mapping": {name: ref["$ref"] for name, ref in requests.items()}},
    }
    batch = {"type": "array", "items": ref("JobRequest"), "minItems": 1, "maxItems": MAX_JOBS}
    schemas["BatchRequest"] = {**schema_object({"jobs": batch}), "additionalProperties": False}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sweephand",
            "version": VERSION,
            "description": "A distributed task scheduler. Clients must accept fields and statuses that this "
            "document does not name: later versions add some, and take none away.",
        },
        # Relative, because the host of a request may be forged, and must not go into the document.
        "servers": [{"url": "/", "description": "Where this document was fetched."}],
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


_ID: Json = {"type": "string", "format": "uuid"}


def _job_card() -> Json:
    count = {"type": "integer", "minimum": 0}
    return schema_object(
        {
            "id": _ID,
            "type": TEXT,
            "status": {**TEXT, "description": f"One of {', '.join(Status)}, or one of a later version."},
            "priority": count,
            "max_retries": count,
            "attempt": {**count, "description": "Starts so far."},
            "crashes": {**count, "description": "Starts that were lost with their function."},
            "scheduled_at": {**TIME, "description": "When the caller wants it to start."},
            "run_at": {**TIME, "description": "When it is due next, or was due last."},
            "expires_at": with_null(TIME),
            "created_at": TIME,
            "started_at": with_null(TIME),
            "finished_at": with_null(TIME),
            "reason": {**with_null(TEXT), "description": "Why it failed, or was skipped."},
            "schedule": {**with_null(TEXT), "description": "The name of the schedule that made it."},
            "fire_at": {**with_null(TIME), "description": "The instant that the schedule names, without jitter."},
        }
    )


def _job() -> Json:
    error = schema_object({"attempt": {"type": "integer"}, "at": TIME, "kind": TEXT, "error": TEXT})
    full: Json = schema_object(
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
    return full


def _explanation() -> Json:
    return schema_object(
        {
            "id": _ID,
            "status": TEXT,
            "because": {"type": "array", "items": TEXT, "description": "The most important reason comes first."},
            "index": {**TEXT, "description": "due, waiting, absent, away, unused, not asked, or a later word."},
        }
    )


def _problem() -> Json:
    fault = schema_object({"pointer": TEXT, "detail": TEXT})
    return schema_object(
        {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "errors": {"type": "array", "items": fault},
        },
        required=["type", "title", "status", "detail"],
    )


def _request(handler: Handler, taken: Json) -> Json:
    """Return the schemas of `handler`'s payload, of the payload's parts, and, as the last, of a request.

    Each schema has a unique name, which is its title too: two handlers may both call their model `Payload`, and
    client generators make one class for each title.
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
        payload = {"type": "object", "description": "Its model has checks that JSON Schema cannot express."}
    made: Json = {f"{payload_name}{name}": schema for name, schema in payload.pop("$defs", {}).items()}
    made[payload_name] = payload
    request = JobRequest.model_json_schema()
    request["properties"] |= {"type": _type(handler), "payload": ref(payload_name)}
    made[request_name] = request
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


def _paths() -> Json:
    by_id = [parameter("id", _ID, "path")]
    key = {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[ -~]+$"}
    created = content("Created and committed.", ref("Job")) | {
        "headers": {"Location": {"schema": TEXT}, "Idempotency-Replayed": {"schema": TEXT}}
    }
    batch = content(
        "Created and committed: a summary of each, in order.",
        schema_object({"jobs": {"type": "array", "items": ref("JobCard")}}),
    ) | {"headers": {"Idempotency-Replayed": {"schema": TEXT}}}
    operations: dict[str, Json] = {
        "create_job": {
            "summary": "Create a job",
            "parameters": [parameter("Idempotency-Key", key, "header")],
            "requestBody": {"required": True, "content": {"application/json": {"schema": ref("JobRequest")}}},
            "responses": answers({"201": created}, 400, 401, 409, 413, 415, 422, 503),
        },
        "create_jobs": {
            "summary": "Create many jobs, all or none",
            "parameters": [parameter("Idempotency-Key", key, "header")],
            "requestBody": {"required": True, "content": {"application/json": {"schema": ref("BatchRequest")}}},
            "responses": answers({"201": batch}, 400, 401, 409, 413, 415, 422, 503),
        },
        "list_jobs": {
            "summary": "List jobs, latest created first",
            "parameters": [
                parameter("status", {"type": "string", "enum": list(Status)}),
                parameter("type", {"type": "string", "pattern": "^[a-z][a-z0-9_.-]{0,63}$"}),
                parameter(
                    "limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
                ),
                parameter("cursor", {**TEXT, "description": "`next_cursor` of the previous page."}),
            ],
            "responses": answers({"200": content("A page.", ref("JobList"))}, 401, 422, 503),
        },
        "get_job": {
            "summary": "Get a job",
            "parameters": by_id,
            "responses": answers({"200": content("The job.", ref("Job"))}, 401, 404, 503),
        },
        "explain_job": {
            "summary": "Explain why a job is in its state",
            "parameters": by_id,
            "responses": answers(
                {"200": content("The reasons, in sentences for people.", _explanation())}, 401, 404, 503
            ),
        },
        "cancel_job": {
            "summary": "Cancel a pending job",
            "parameters": by_id,
            "responses": answers({"200": content("Cancelled, now or before.", ref("Job"))}, 401, 404, 409, 503),
        },
        **schedule_operations(key),
        "health": {
            "summary": "Check that the record answers",
            "security": [],
            "responses": answers({"200": content("The record answers.", schema_object({"status": TEXT}))}, 503),
        },
        "openapi": {
            "summary": "Get this document",
            "security": [],
            "responses": answers({"200": content("This document.", {"type": "object"})}, 503),
        },
    }
    paths: Json = {}
    for (method, path), name in ROUTES.items():
        paths.setdefault(path, {})[method.lower()] = {"operationId": name, **operations[name]}
    return paths
