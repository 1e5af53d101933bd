"""What a payload of `http_request` may hold, and where a fault of it is told."""

import base64
from typing import Any

import pytest

from sweephand.domain.errors import InvalidError
from sweephand.domain.request import new_job
from sweephand.handlers.http_request import MAX_BODY, HttpRequestPayload, Method
from sweephand.handlers.registry import load
from tests.handlers.conftest import JOB_ID

URL = "https://example.com/hook"
_NAMES = """
Host host Content-Length Transfer-Encoding TE Trailer Upgrade Connection Keep-Alive Proxy-Connection
Expect Proxy-Authorization Proxy-Authenticate HTTP2-Settings Accept-Encoding webhook-id
Webhook-Signature WEBHOOK-TIMESTAMP webhook-anything
"""
FORBIDDEN = _NAMES.split()
"""Headers that no caller may set, in the ways in which they are written."""


def faults(**payload: Any) -> dict[str, str]:
    """Return what is wrong with a job that has this payload, by pointer."""
    with pytest.raises(InvalidError) as refused:
        new_job({"type": "http_request", "payload": payload}, load(()), JOB_ID)
    return {fault.pointer: fault.detail for fault in refused.value.faults}


def test_a_url_is_enough() -> None:
    """The rest has defaults: POST without a body, 30 seconds, no redirects, no retries of a 4xx."""
    made = HttpRequestPayload(url=URL)
    assert (made.method, made.headers, made.content) == (Method.POST, {}, b"")
    assert (made.timeout, made.max_redirects, made.retry_4xx) == (30, 0, False)


@pytest.mark.parametrize(
    ("payload", "pointer", "told"),
    [
        ({}, "/payload/url", "required"),
        ({"url": 5}, "/payload/url", "string"),
        ({"url": "ftp://example.com"}, "/payload/url", "http:// or https://"),
        ({"url": "http://a:b@example.com"}, "/payload/url", "credentials"),
        ({"url": "http://example.com\\x"}, "/payload/url", "character '\\\\'"),
        ({"url": "http://example.com/a b"}, "/payload/url", "character ' '"),
        ({"url": "http://example.com/\x7f"}, "/payload/url", "character '\\x7f'"),
        ({"url": "http://[fe80::1%25eth0]/"}, "/payload/url", "percent sign"),
        ({"url": "http://ex%61mple.com/"}, "/payload/url", "percent sign"),
        ({"url": "http://example.com:0/"}, "/payload/url", "port"),
        ({"url": "http://2130706433/"}, "/payload/url", "four plain decimals"),
        ({"url": "http://127.0.0.1/"}, "/payload/url", "loopback"),
        ({"url": URL, "method": "TRACE"}, "/payload/method", "GET"),
        ({"url": URL, "method": "post"}, "/payload/method", "POST"),
        ({"url": URL, "headers": {"X-A": "a\nB: c"}}, "/payload/headers/X-A", "one line"),
        ({"url": URL, "headers": {"X-A": "a\rb"}}, "/payload/headers/X-A", "one line"),
        ({"url": URL, "headers": {"X-A": "ä"}}, "/payload/headers/X-A", "ASCII"),
        ({"url": URL, "headers": {"X-A": " a"}}, "/payload/headers/X-A", "blanks"),
        ({"url": URL, "headers": {"X-A": "a\n"}}, "/payload/headers/X-A", "one line"),
        ({"url": URL, "headers": {"X-A": "a" * 4097}}, "/payload/headers/X-A", "4096"),
        ({"url": URL, "headers": {"X A": "a"}}, "/payload/headers/X A", "token"),
        ({"url": URL, "headers": {"X-A:": "a"}}, "/payload/headers/X-A:", "token"),
        ({"url": URL, "headers": {"": "a"}}, "/payload/headers/", "token"),
        ({"url": URL, "headers": {"X-A\n": "a"}}, "/payload/headers/X-A\n", "token"),
        ({"url": URL, "headers": {"X" * 101: "a"}}, f"/payload/headers/{'X' * 101}", "100"),
        ({"url": URL, "headers": {"X-A": "1", "x-a": "2"}}, "/payload", "twice"),
        ({"url": URL, "headers": {f"X-{n}": "a" for n in range(51)}}, "/payload/headers", "50"),
        ({"url": URL, "headers": {f"X-{n}": "a" * 4000 for n in range(5)}}, "/payload", "16384"),
        ({"url": URL, "headers": {"X-A": 1}}, "/payload/headers/X-A", "string"),
        ({"url": URL, "body": "a", "body_base64": "YQ=="}, "/payload", "exclude each other"),
        ({"url": URL, "body_base64": "YQ"}, "/payload/body_base64", "base64"),
        ({"url": URL, "body_base64": "Y\nQ=="}, "/payload/body_base64", "base64"),
        ({"url": URL, "body_base64": "YQ=="[::-1]}, "/payload/body_base64", "base64"),
        ({"url": URL, "body": "ä" * (MAX_BODY // 2 + 1)}, "/payload/body", str(MAX_BODY)),
        ({"url": URL, "timeout": 0.05}, "/payload/timeout", "0.1"),
        ({"url": URL, "timeout": 60.5}, "/payload/timeout", "60"),
        ({"url": URL, "timeout": "5"}, "/payload/timeout", "number"),
        ({"url": URL, "timeout": True}, "/payload/timeout", "number"),
        ({"url": URL, "max_redirects": True}, "/payload/max_redirects", "integer"),
        ({"url": URL, "retry_4xx": 0}, "/payload/retry_4xx", "boolean"),
        ({"url": URL, "max_redirects": 6}, "/payload/max_redirects", "5"),
        ({"url": URL, "max_redirects": -1}, "/payload/max_redirects", "0"),
        ({"url": URL, "retry": True}, "/payload/retry", "not permitted"),
    ],
    ids=lambda value: str(value)[:60].encode("unicode_escape").decode(),
)
def test_a_fault_is_told_where_it_stands(payload: dict[str, Any], pointer: str, told: str) -> None:
    """Each fault has a pointer into the request and a sentence that helps."""
    found = faults(**payload)
    assert list(found) == [pointer]
    assert told in found[pointer]


@pytest.mark.parametrize(
    "name",
    FORBIDDEN,
)
def test_a_forbidden_header_is_refused(name: str) -> None:
    """What names the receiver, signs the message or belongs to the connection is not the caller's, in any case."""
    assert "leave it out" in faults(url=URL, headers={name: "x"})[f"/payload/headers/{name}"]


def test_a_body_is_the_exact_bytes() -> None:
    """Text goes out as UTF-8 and base64 as what it stands for, up to the limit."""
    assert HttpRequestPayload(url=URL, body="grüße\r\n").content == "grüße\r\n".encode()
    assert HttpRequestPayload(url=URL, body_base64="AP8=").content == b"\x00\xff"
    largest = base64.b64encode(bytes(MAX_BODY)).decode()
    assert HttpRequestPayload(url=URL, body_base64=largest).content == bytes(MAX_BODY)
