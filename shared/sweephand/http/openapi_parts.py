"""What the parts of the OpenAPI document are made of."""

from typing import Any

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
TIME: Json = {"type": "string", "format": "date-time", "description": "UTC with Z and milliseconds."}


def ref(name: str) -> Json:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def with_null(schema: Json) -> Json:
    """Return the schema of `schema` or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def schema_object(properties: Json, required: list[str] | None = None) -> Json:
    """Return the schema of an object; all of its properties are required unless `required` says otherwise."""
    return {"type": "object", "properties": properties, "required": required or list(properties)}


def answers(ok: Json, *problems: int) -> Json:
    """Return an operation's answers: `ok`, and a problem for each of these statuses."""
    said: Json = {"description": "A problem (RFC 9457).", "content": {"application/problem+json": {}}}
    said["content"]["application/problem+json"]["schema"] = ref("Problem")
    wait = {**said, "headers": {"Retry-After": {"schema": {"type": "integer"}}}}
    return {**ok, **{str(status): wait if status == 503 else said for status in problems}}  # noqa: PLR2004


def content(description: str, schema: Json) -> Json:
    """Return an answer of JSON."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def parameter(name: str, schema: Json, place: str = "query") -> Json:
    """Return a parameter in the query, the path or a header."""
    return {"name": name, "in": place, "required": place == "path", "schema": schema}
