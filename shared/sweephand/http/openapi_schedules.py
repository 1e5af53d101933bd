"""The part of the OpenAPI document that describes schedules."""

from typing import Any

from sweephand.domain.schedule_request import ScheduleRequest
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
from sweephand.usecases.read import DEFAULT_LIMIT, MAX_LIMIT
from sweephand.usecases.schedules.change import MAX_SOURCE
from sweephand.usecases.schedules.make import BackfillRequest

_COUNT: Json = {"type": "integer", "minimum": 0}
_LIMIT: Json = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}


def schedule_schemas() -> Json:
    """Return the components."""
    request = ScheduleRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    template = request.pop("$defs")
    patch = {**request, "title": "SchedulePatch", "required": []}
    patch["properties"] = {
        name: {} if name == "job" else with_null(schema) for name, schema in request["properties"].items()
    }
    return {
        "JobTemplate": template.pop("JobTemplateRequest"),
        **template,
        "ScheduleRequest": _pointed(request),
        "SchedulePatch": _pointed(patch),
        "BackfillRequest": BackfillRequest.model_json_schema(),
        "Schedule": _schedule(),
        "ScheduleList": schema_object(
            {"schedules": {"type": "array", "items": ref("Schedule")}, "next_cursor": with_null(TEXT)}
        ),
    }


def _pointed(schema: Json) -> Json:
    """Point to the template by the name that it has among the components."""
    found: Json = _replaced(schema, "#/components/schemas/JobTemplateRequest", "#/components/schemas/JobTemplate")
    return found


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(each, old, new) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, old, new) for each in value]
    return new if value == old else value


def _schedule() -> Json:
    shown: Json = {
        "name": TEXT,
        "cron": with_null(TEXT),
        "every": with_null(TEXT),
        "timezone": TEXT,
        "job": {"type": "object", "description": "What each job is made of; a list leaves out its payload."},
        "misfire": TEXT,
        "misfire_limit": _COUNT,
        "misfire_age": TEXT,
        "overlap": TEXT,
        "jitter": TEXT,
        "start_at": with_null(TIME),
        "end_at": with_null(TIME),
        "paused": {"type": "boolean"},
        "dst": {
            **with_null(TEXT),
            "description": "What clock changes do to it: fixed_time, real_time, elapsed.",
        },
        "next_fires": {
            "type": "array",
            "items": TIME,
            "maxItems": 5,
            "description": "The next five instants; a list has the next alone. None while it is paused.",
        },
        "invalid": {**with_null(TEXT), "description": "Why it makes no jobs."},
        "made": {**_COUNT, "description": "Jobs of its fires."},
        "skipped": {
            "type": "object",
            "additionalProperties": _COUNT,
            "description": "Fires that made no job, or whose job did not start, by reason.",
        },
        "last_fire": {**with_null(TIME), "description": "The latest fire that became a job."},
        "source": {**with_null(TEXT), "description": "The list whose `apply` made it."},
        "revision": {**_COUNT, "description": "Counts its changes."},
        "created_at": TIME,
        "updated_at": TIME,
    }
    return schema_object(shown, [name for name in shown if name not in ("cron", "every", "start_at", "end_at")])


def schedule_operations(key: Json) -> dict[str, Json]:
    """Return the operations by their functions; `key` is the schema of an Idempotency-Key."""
    name = parameter("name", {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"}, "path")
    page = [
        parameter("limit", _LIMIT),
        parameter("cursor", {**TEXT, "description": "`next_cursor` of the page before."}),
    ]
    listed: Json = {**TEXT, "minLength": 1, "maxLength": MAX_SOURCE, "description": "The list that it stands in."}
    source = parameter("source", listed)
    schedule = content("The schedule.", ref("Schedule"))
    located = {"headers": {"Location": {"schema": TEXT}}}
    run = content("Made, and committed.", ref("Job")) | {
        "headers": {"Location": {"schema": TEXT}, "Idempotency-Replayed": {"schema": TEXT}}
    }
    backfilled = schema_object({"made": _COUNT, "existed": _COUNT, "next": with_null(TEXT)})
    keep: Json = {"type": "string", "enum": ["keep", "cancel"], "default": "keep"}
    deleted = schema_object({"deleted": {"type": "boolean"}, "cancelled": _COUNT})
    jobs = {"type": "array", "items": ref("JobCard")}
    return {
        "put_schedule": {
            "summary": "Make a schedule, or replace the one of its name",
            "parameters": [source],
            "requestBody": _body("ScheduleRequest"),
            "responses": answers(
                {"201": schedule | located, "200": content("Replaced, or as it was.", ref("Schedule")) | located},
                *(400, 401, 413, 415, 422, 503),
            ),
        },
        "list_schedules": {
            "summary": "List schedules by name",
            "parameters": [*page, source],
            "responses": answers({"200": content("A page.", ref("ScheduleList"))}, 401, 422, 503),
        },
        "get_schedule": {
            "summary": "Get a schedule",
            "parameters": [name],
            "responses": answers({"200": schedule}, 401, 404, 503),
        },
        "patch_schedule": {
            "summary": "Change fields of a schedule, pause it, resume it",
            "parameters": [name],
            "requestBody": _body("SchedulePatch"),
            "responses": answers({"200": schedule}, 400, 401, 404, 409, 413, 415, 422, 503),
        },
        "delete_schedule": {
            "summary": "Delete a schedule",
            "parameters": [
                name,
                parameter("jobs", keep),
            ],
            "responses": answers({"200": content("Deleted.", deleted)}, 401, 404, 422, 503),
        },
        "run_schedule": {
            "summary": "Make a job of a schedule now",
            "parameters": [name, parameter("Idempotency-Key", key, "header")],
            "responses": answers({"201": run}, 401, 404, 422, 503),
        },
        "backfill_schedule": {
            "summary": "Make the fires of a range in the past",
            "parameters": [name],
            "requestBody": _body("BackfillRequest"),
            "responses": answers(
                {"200": content("What was made.", backfilled)}, 400, 401, 404, 409, 413, 415, 422, 503
            ),
        },
        "list_schedule_jobs": {
            "summary": "List the jobs that a schedule made, latest created first",
            "parameters": [name, *page],
            "responses": answers(
                {"200": content("A page.", schema_object({"jobs": jobs, "next_cursor": with_null(TEXT)}))},
                *(401, 404, 422, 503),
            ),
        },
    }


def _body(schema: str) -> Json:
    return {"required": True, "content": {"application/json": {"schema": ref(schema)}}}
