"""The requests of a hostile caller, each with the status of its answer."""

import base64
from dataclasses import dataclass, field
from uuid import UUID

from sweephand.domain.cursor import EARLIEST, LATEST, Position, encode

JOB = "01980000-0000-7000-8000-000000000000"
JOB_BODY = b'{"type":"anything","payload":{}}'


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request over HTTP, and the status of its answer."""

    status: int
    method: str = "GET"
    path: str = "/jobs"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    keyless: bool = False


def _raw_cursor(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_GOOD = encode(Position(1_800_000_000_000_000, UUID(int=1)), filters="|")
CURSORS = [
    *(encode(Position(at, UUID(int=0)), filters="|") for at in (-(2**63), 2**63 - 1, EARLIEST - 1, LATEST + 1)),
    encode(Position(0, UUID(int=0)), filters="pending|"),
    encode(Position(0, UUID(int=0)), filters="|anything"),
    *(_raw_cursor(b"\xff" * size) for size in (0, 1, 8, 24, 31, 32, 33, 40, 64, 3000)),
    *(_raw_cursor(b"\0" * size) for size in (24, 32, 40)),
    _GOOD + "=",
    _GOOD + "A",
    _GOOD[:-1],
    _GOOD[1:],
    _GOOD.swapcase(),
    "%20" + _GOOD,
    _GOOD + "%0A",
    "%00",
    "%C3%A9",
    "%FF%FE",
    "%ED%A0%80",
    "%F0%9F%8E%88",
    "0",
    "-1",
    "null",
    "%7B%7D",
    "'%20or%201%3D1--",
    "../../etc/passwd",
    "%252e%252e",
    "+" * 43,
    "_" * 43,
    "9" * 8000,
]
"""Values of `cursor`: each is a 422."""

BODIES = {
    b"": 400,
    b" ": 400,
    b"\0": 400,
    b"{": 400,
    b"}": 400,
    b"[": 400,
    b"nul": 400,
    b"NaN": 400,
    b"Infinity": 400,
    b"-Infinity": 400,
    b"{'type': 'anything'}": 400,
    b'{"type":"anything","payload":{},}': 400,
    b'{"type":"anything","payload":{}}x': 400,
    b'{"type":"anything","payload":{"n":NaN}}': 400,
    b'{"type":"anything","payload":{"n":01}}': 400,
    b'{"type":"anything","payload":{"s":"\n"}}': 400,
    b'{"type":"anything","payload":{"s":"\\x41"}}': 400,
    b'{"type":"anything","payload":{"s":"\xff"}}': 400,
    b'{"type":"anything","payload":{"s":"\xed\xa0\x80"}}': 400,
    b"\xef\xbb\xbf{}": 400,
    b"\xff\xfe{\0}\0": 400,
    b"\x1f\x8b\x08\0": 400,
    b"null": 422,
    b"true": 422,
    b"0": 422,
    b'""': 422,
    b"[]": 422,
    b"{}": 422,
    b"[" * 5000: 422,
    b"[" * 100 + b"]" * 100: 422,
    b'{"a":' * 5000: 422,
    b'{"type":"anything","payload":{"s":"\\u0000"}}': 422,
    b'{"type":"anything","payload":{"s":"\\ud800"}}': 422,
    b'{"type":"anything","payload":{"\\udfff":1}}': 422,
    b'{"type":"anything","payload":{"a":1,"a":2}}': 422,
    b'{"type":"anything","type":"anything","payload":{}}': 422,
    b'{"type":"anything","payload":{"n":1e400}}': 422,
    b'{"type":"anything","payload":{"n":1e99999999999999999999}}': 422,
    b'{"type":"anything","payload":{"n":1e-99999999999999999999}}': 422,
    b'{"type":"anything","payload":{"n":0.1234567890123456789}}': 422,
    b'{"type":"anything","payload":{"n":' + b"9" * 5000 + b"}}": 422,
    b'{"type":"anything","payload":[]}': 422,
    b'{"type":"anything","payload":null}': 422,
    b'{"type":"anything"}': 422,
    b'{"payload":{}}': 422,
    b'{"type":null,"payload":{}}': 422,
    b'{"type":["anything"],"payload":{}}': 422,
    b'{"type":"tick","payload":{}}': 422,
    b'{"type":"../anything","payload":{}}': 422,
    b'{"type":"anything","payload":{},"id":"x"}': 422,
    b'{"type":"anything","payload":{},"priority":-1}': 422,
    b'{"type":"anything","payload":{},"priority":1e18}': 422,
    b'{"type":"anything","payload":{},"priority":true}': 422,
    b'{"type":"anything","payload":{},"max_retries":1e300}': 422,
    b'{"type":"anything","payload":{},"scheduled_at":"0000-01-01T00:00:00Z"}': 422,
    b'{"type":"anything","payload":{},"scheduled_at":"0001-01-01T00:00:00+23:59"}': 422,
    b'{"type":"anything","payload":{},"scheduled_at":"9999-12-31T23:59:59-23:59"}': 422,
    b'{"type":"anything","payload":{},"scheduled_at":"infinity"}': 422,
    b'{"type":"anything","payload":{},"expires_at":"2026-02-30T00:00:00Z"}': 422,
    b'{"type":"anything","payload":{"s":"' + b"x" * 262_144 + b'"}}': 413,
}
"""Bodies of `POST /jobs`, and their answers."""

MEDIA = ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "*/*", "/", ";"]
"""Content types that are not JSON's: each is a 415."""

PATHS = [
    "/",
    "//",
    "//jobs",
    "/jobs/",
    "/jobs//",
    "/jobs/../health",
    "/jobs/%2e%2e/health",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/jobs/%2F",
    "/jobs/%00",
    "/jobs/%0A",
    "/jobs/%FF",
    "/jobs/%E2%82%AC",
    "/jobs/%C3%A9",
    "/jobs/%ED%A0%80",
    "/%F0%9F%8E%88",
    "/%",
    "/%zz",
    "/jobs/%zz",
    "/jobs/;",
    f"/jobs/{JOB.replace('-', '')}",
    f"/jobs/%7B{JOB}%7D",
    f"/jobs/urn:uuid:{JOB}",
    f"/jobs/{JOB}%20",
    f"/jobs/{JOB}%00",
    f"/jobs/{JOB}/cancel/",
    f"/jobs/{JOB}/explain/x",
    "/jobs/0",
    "/jobs/-1",
    "/jobs/null",
    "/jobs/'%20or%201%3D1--",
    "/jobs/" + "a" * 8000,
    "/tick",
    "/.env",
    "/openapi.json/",
    "/health%20",
]
"""Paths of a GET that lead to nothing: each is a 404."""

METHODS = {
    "PUT": 405,
    "PATCH": 405,
    "DELETE": 405,
    "TRACE": 405,
    "CONNECT": 405,
    "PROPFIND": 405,
    "BREW": 405,
    "QUERY": 405,
}
"""Methods that `/jobs` does not take."""

KEYS = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Basic {key}",
    "bearer:{key}",
    "{key}",
    "Bearer {key}x",
    "Bearer {key},",
    "Bearer {key} {key}",
    "Bearer {key}, Bearer {key}",
    'Bearer "{key}"',
    "Bearer Bearer {key}",
    "Bearer sha256:{hash}",
    "Bearer SHA256:{hash}",
    "Bearer {hash}",
    "Bearer \u00e9",
    "Bearer \u00ff\u00fe",
    "Bearer " + "k" * 9000,
    "Negotiate {key}",
]
"""Authorization headers that open nothing: each is a 401."""

QUERIES = [
    "limit=0",
    "limit=-1",
    "limit=201",
    "limit=1e2",
    "limit=%D9%A3",
    "limit=" + "9" * 5000,
    "limit=%00",
    "status=%00",
    "status=%E2%82%AC",
    "status=pending&status=failed",
    "type=%27",
    "type=%00",
    "type=" + "a" * 65,
    "cursor",
    "x",
    "=",
    "%FF=1",
    "limit[]=1",
    "limit=1;drop",
]
"""Queries of `GET /jobs` that mean nothing: each is a 422."""

IDEMPOTENCY = ["\u00e9", "\u00ff", "k" * 256, "k" * 9000, "\t\u00e9"]
"""Idempotency-Keys that are none: each is a 422."""


def everything() -> dict[str, Hostile]:
    """Return every request that any HTTP client can send, by a name."""
    json_ = {"Content-Type": "application/json"}
    found: dict[str, Hostile] = {}
    found |= {f"cursor {n}": Hostile(422, query=f"cursor={cursor}") for n, cursor in enumerate(CURSORS)}
    found |= {f"query {query[:30]}": Hostile(422, query=query) for query in QUERIES}
    found |= {
        f"body {n} {body[:40]!r}": Hostile(status, "POST", headers=json_, body=body)
        for n, (body, status) in enumerate(BODIES.items())
    }
    found |= {
        f"media {kind}": Hostile(415, headers={"Content-Type": kind}, body=JOB_BODY, method="POST")
        for kind in MEDIA
    }
    found |= {f"path {path[:50]}": Hostile(404, path=path) for path in PATHS}
    found |= {f"method {method}": Hostile(status, method=method) for method, status in METHODS.items()}
    found |= {
        f"method {method} of a job": Hostile(405, method=method, path=f"/jobs/{JOB}")
        for method in ("POST", "DELETE")
    }
    found |= {f"key {key[:40]}": Hostile(401, headers={"Authorization": key}, keyless=True) for key in KEYS}
    found |= {
        f"idempotency {n}": Hostile(422, headers={**json_, "Idempotency-Key": key}, body=JOB_BODY, method="POST")
        for n, key in enumerate(IDEMPOTENCY)
    }
    return found


_START = (
    b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
)
_CHUNKED = _START + b"Transfer-Encoding: chunked\r\n\r\n"
_CHUNK = b"%x\r\n%s\r\n" % (len(JOB_BODY), JOB_BODY)
_END = b"0\r\n\r\n"


def _get(lines: bytes) -> bytes:
    return b"GET /jobs HTTP/1.1\r\n" + lines + b"Authorization: Bearer {key}\r\nConnection: close\r\n\r\n"


WIRE: dict[str, tuple[bytes, int]] = {
    "size is no number": (_CHUNKED + b"zz\r\n" + JOB_BODY + b"\r\n" + _END, 400),
    "size is negative": (_CHUNKED + b"-20\r\n" + JOB_BODY + b"\r\n" + _END, 400),
    "size has an underscore": (_CHUNKED + b"2_0\r\n" + JOB_BODY + b"\r\n" + _END, 400),
    "size has a prefix": (_CHUNKED + b"0x20\r\n" + JOB_BODY + b"\r\n" + _END, 400),
    "size has a plus": (_CHUNKED + b"+20\r\n" + JOB_BODY + b"\r\n" + _END, 400),
    "size has a space": (_CHUNKED + b" 20\r\n" + JOB_BODY + b"\r\n" + _END, 400),
    "size is empty": (_CHUNKED + b"\r\n" + JOB_BODY + b"\r\n" + _END, 400),
    "size is beyond all memory": (_CHUNKED + b"f" * 20 + b"\r\n" + JOB_BODY, 400),
    "size has zeros without end": (_CHUNKED + b"0" * 100_000 + b"20\r\n", 400),
    "extension without end": (_CHUNKED + b"20;" + b"a" * 100_000 + b"\r\n", 400),
    "extension with a bare CR": (_CHUNKED + b"20;a\rb\r\n" + JOB_BODY + b"\r\n" + _END, 400),
    "chunk without its end": (_CHUNKED + _CHUNK[:-2] + b"XX" + _END, 400),
    "chunk longer than told": (_CHUNKED + b"5\r\n" + JOB_BODY + b"\r\n" + _END, 400),
    "lines end with LF": (_CHUNKED + b"20\n" + JOB_BODY + b"\n0\n\n", 400),
    "trailer is no header": (_CHUNKED + _CHUNK + b"0\r\nno header\r\n\r\n", 400),
    "trailers without end": (_CHUNKED + _CHUNK + b"0\r\n" + b"a: b\r\n" * 200_000, 400),
    "cut within a chunk": (_CHUNKED + _CHUNK[:20], 400),
    "cut within a size": (_CHUNKED + b"2", 400),
    "cut before the first chunk": (_CHUNKED, 400),
    "cut before the last chunk": (_CHUNKED + _CHUNK, 400),
    "cut in the last chunk": (_CHUNKED + _CHUNK + b"0\r\n", 400),
    "cut before the announced length": (_START + b"Content-Length: 99\r\n\r\n" + JOB_BODY, 400),
    "length and chunks": (_START + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + _CHUNK + _END, 400),
    "chunks and length": (_START + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + _CHUNK + _END, 400),
    "encoded twice": (_START + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + _CHUNK + _END, 400),
    "encoding said twice": (_START + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + _CHUNK + _END, 400),
    "encoding is gzip": (_START + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + _CHUNK + _END, 400),
    "encoding is identity": (_START + b"Transfer-Encoding: identity\r\nContent-Length: 32\r\n\r\n" + JOB_BODY, 400),
    "length is negative": (_START + b"Content-Length: -1\r\n\r\n", 400),
    "length is a word": (_START + b"Content-Length: many\r\n\r\n", 400),
    "length is a fraction": (_START + b"Content-Length: 3.2\r\n\r\n", 400),
    "length is said twice": (_START + b"Content-Length: 32\r\nContent-Length: 5\r\n\r\n" + JOB_BODY, 400),
    "length is a list": (_START + b"Content-Length: 32, 32\r\n\r\n" + JOB_BODY, 400),
    "length is beyond all memory": (_START + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
    "length has 5,000 digits": (_START + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "chunks of 11 MB": (_CHUNKED + (b"100000\r\n" + b" " * 0x100000 + b"\r\n") * 11 + _END, 413),
    "chunks of 11 MB without a key": (
        _CHUNKED.replace(b"{key}", b"x") + (b"100000\r\n" + b" " * 0x100000 + b"\r\n") * 11 + _END,
        413,
    ),
    "no version": (b"GET /jobs\r\n\r\n", 400),
    "another version": (b"GET /jobs HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", 400),
    "a name with a space": (_get(b"Host: 127.0.0.1\r\nA b: c\r\n"), 400),
    "a name of nothing": (_get(b"Host: 127.0.0.1\r\n: c\r\n"), 400),
    "a line without a colon": (_get(b"Host: 127.0.0.1\r\nabc\r\n"), 400),
    "a folded line": (_get(b"Host: 127.0.0.1\r\nA: b\r\n c\r\n"), 400),
    "a NUL in a value": (_get(b"Host: 127.0.0.1\r\nA: b\0c\r\n"), 400),
    "a bare CR in a value": (_get(b"Host: 127.0.0.1\r\nA: b\rc\r\n"), 400),
    "a header of 20,000 bytes": (_get(b"Host: 127.0.0.1\r\nA: " + b"b" * 20_000 + b"\r\n"), 431),
    "200 headers": (_get(b"Host: 127.0.0.1\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(200))), 431),
    "the host of a stranger": (_get(b"Host: evil.example\r\n"), 421),
    "a name that begins like ours": (_get(b"Host: 127.0.0.1.evil.example\r\n"), 421),
    "a name that ends like ours": (_get(b"Host: evil.localhost\r\n"), 421),
    "our address behind an at": (_get(b"Host: evil.example@127.0.0.2\r\n"), 421),
    "another address": (_get(b"Host: 192.168.0.1:8080\r\n"), 421),
    "all addresses": (_get(b"Host: 0.0.0.0\r\n"), 421),
    "an address that is none": (_get(b"Host: [::1\r\n"), 421),
    "an empty host": (_get(b"Host:\r\n"), 421),
    "no host": (_get(b""), 421),
    "a target with a stranger's host": (
        b"GET http://evil.example/jobs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        421,
    ),
    "a raw é in the path": (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 400),
    "a raw byte in the path": (b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 400),
}
"""What only a socket can send, and the status of the answer; `{key}` stands for a good key."""
