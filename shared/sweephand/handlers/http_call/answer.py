"""What is kept of an answer as a job's result, and what is said of one that failed."""

import base64
import json
from collections.abc import Mapping
from itertools import islice

from sweephand.domain.json_value import JsonValue
from sweephand.domain.services import HttpAnswer

MAX_BODY = 32 * 1024
"""Bytes of a body that are read and kept: in base64 43 KiB, and with the headers below a result's 64 KiB."""
_MAX_TEXT = 44 * 1024
"""Bytes of a body's text as JSON: one of control characters grows sixfold, and is kept as base64 instead."""
_MAX_HEADERS = 64
_MAX_NAME = 100
_MAX_VALUE = 1024
_MAX_ALL = 12 * 1024
"""Characters of all headers that are kept."""
_SNIPPET = 300
"""Characters of a failed answer's body that are told."""


def result(answer: HttpAnswer) -> dict[str, JsonValue]:
    """Return what a completed job keeps: `status`, `url`, `headers`, `body` or `body_base64`, and `truncated`.

    A body is text where it is UTF-8 without NUL, which PostgreSQL cannot hold; it is never decompressed.
    """
    headers, dropped = _headers(answer.headers)
    kept: dict[str, JsonValue] = {"status": answer.status, "url": answer.url, "headers": headers}
    if dropped:
        kept["headers_truncated"] = True
    text = _text(answer.body[:MAX_BODY], cut=answer.truncated)
    if text is not None:
        kept["body"] = text
    else:
        kept["body_base64"] = base64.b64encode(answer.body[:MAX_BODY]).decode()
    return {**kept, "truncated": answer.truncated or len(answer.body) > MAX_BODY}


def snippet(answer: HttpAnswer) -> str:
    """Return the beginning of a failed answer's body in one line, with `: ` in front, or nothing."""
    text = _text(answer.body[: 4 * _SNIPPET], cut=True) or ""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return f": {line[:_SNIPPET]}" if line else ""


def _headers(headers: Mapping[str, str]) -> tuple[dict[str, JsonValue], bool]:
    kept: dict[str, JsonValue] = {}
    size = 0
    dropped = len(headers) > _MAX_HEADERS
    for name, value in islice(headers.items(), _MAX_HEADERS):
        size += len(name) + len(value[:_MAX_VALUE])
        if size > _MAX_ALL or len(name) > _MAX_NAME:
            return kept, True
        dropped |= len(value) > _MAX_VALUE
        kept[name] = value[:_MAX_VALUE]
    return kept, dropped


def _text(body: bytes, *, cut: bool) -> str | None:
    try:
        text = body.decode()
    except UnicodeDecodeError as e:
        # What was cut may end within a character, which has up to four bytes.
        if not cut or e.start < len(body) - 3 or e.reason != "unexpected end of data":
            return None
        text = body[: e.start].decode()
    if "\0" in text or len(json.dumps(text, ensure_ascii=False).encode()) > _MAX_TEXT:
        return None
    return text
