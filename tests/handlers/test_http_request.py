"""What a call sends, and what becomes of each answer."""

import asyncio
import base64
import gzip
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from sweephand.domain.attempt import Succeeded, outcome_of_result
from sweephand.domain.handler import GiveUp, Retry
from sweephand.domain.services import HttpCall
from sweephand.handlers.http_call.answer import MAX_BODY as KEPT
from sweephand.handlers.http_call.connection import MAX_HEAD
from sweephand.handlers.http_call.retry_after import MAX_WAIT, seconds
from sweephand.handlers.http_request import HttpRequestPayload, http_request
from sweephand.version import VERSION
from tests.handlers.calling import Caller, loopback_opened
from tests.handlers.conftest import context
from tests.handlers.http_server import Answer, Request, Server, plain, says

__all__ = ["loopback_opened"]


def once(answer: Answer, caller: Caller | None = None, /, **payload: object) -> tuple[dict[str, object], Server]:
    """Serve `answer`, call it once, and return the result and the server."""
    caller = caller or Caller()
    attempt = payload.pop("attempt", 1)
    assert isinstance(attempt, int)

    async def main() -> tuple[dict[str, object], Server]:
        async with Server(answer) as server:
            path = payload.pop("path", "/hook")
            return await caller.call(f"{server.url}{path}", attempt=attempt, **payload), server

    return caller.run(main)


def test_a_call_arrives_as_it_was_asked_for() -> None:
    """Method, path, query, headers and the body's exact bytes are the caller's; the rest is as HTTP wants it."""
    result, server = once(
        says(plain(body=b'{"ok": true}', content_type="application/json")),
        path="/a/%20b?c=d#e",
        method="PUT",
        headers={"X-Own": "a  b", "Authorization": "Bearer x"},
        body="grüße\n",
    )
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("PUT", "/a/%20b?c=d", "grüße\n".encode())
    webhook = {request.headers.pop(name) for name in ("webhook-id", "webhook-timestamp")}
    assert "019b76da-a800-7abc-8def-0123456789ab" in webhook
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "accept": "*/*",
        "user-agent": f"sweephand/{VERSION}",
        "content-length": "8",
        "content-type": "text/plain; charset=utf-8",
        "x-own": "a  b",
        "authorization": "Bearer x",
    }
    assert result == {
        "status": 200,
        "url": f"{server.url}/a/%20b?c=d",
        "headers": {"content-length": "12", "content-type": "application/json"},
        "body": '{"ok": true}',
        "truncated": False,
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PATCH"])
def test_every_method_is_sent(method: str) -> None:
    """A call without a body has none, and an answer to HEAD is complete though its Content-Length promises more."""
    result, server = once(says(plain(body=b"") if method != "HEAD" else plain()[:-2]), method=method)
    assert (server.requests[0].method, server.requests[0].body, result["body"]) == (method, b"", "")
    assert ("content-length" in server.requests[0].headers) == (method in {"POST", "PATCH"})


def test_bytes_go_out_and_come_back_as_they_are() -> None:
    """A body in base64 is sent decoded, and an answer that is no text is kept in base64."""
    result, server = once(says(plain(body=b"\xff\x00\xfe")), body_base64="AAH/")
    assert server.requests[0].body == b"\x00\x01\xff"
    assert server.requests[0].headers["content-type"] == "application/octet-stream"
    assert base64.b64decode(str(result["body_base64"])) == b"\xff\x00\xfe"
    assert "body" not in result


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
def test_2xx_completes(status: int) -> None:
    """Every 2xx is a success, with its status in the result."""
    body = b"" if status == 204 else b"x"
    assert once(says(plain(status, body, location="/made/1")))[0]["status"] == status


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_a_passing_failure_is_tried_again(status: int) -> None:
    """The job is tried again, later at each attempt, and the error says what was answered."""
    for attempt, least in ((1, 1), (2, 2), (5, 16)):
        with pytest.raises(Retry, match=f"answered {status}: not now, try later") as asked:
            once(says(plain(status, b"not now,\n\x07 try later")), attempt=attempt)
        assert least <= asked.value.after <= 2 * least


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 413, 422, 451])
def test_another_4xx_fails_at_once(status: int) -> None:
    """Nothing would be different at a second attempt, so there is none."""
    with pytest.raises(GiveUp, match=f"answered {status}: no"):
        once(says(plain(status, b"no")))


def test_retry_4xx_tries_again_but_not_what_is_gone() -> None:
    """With `retry_4xx` any 4xx is tried again, other than 410."""
    for status in (400, 404, 422):
        with pytest.raises(Retry):
            once(says(plain(status)), retry_4xx=True)
    with pytest.raises(GiveUp, match="answered 410"):
        once(says(plain(410)), retry_4xx=True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_fails_and_names_its_target(status: int) -> None:
    """Redirects are off: the reason says where to."""
    with pytest.raises(GiveUp, match=rf"answered {status}: it redirects to http://127\.0\.0\.1:\d+/new\?a"):
        once(says(plain(status, location="/new?a")))
    with pytest.raises(GiveUp, match="answered 304"):
        once(says(plain(304, b"")))


def test_retry_after_is_heeded() -> None:
    """A server that names seconds or a date is not called sooner; a day becomes an hour."""
    asked = {}
    now = datetime.now(UTC)
    for text in ("100", format_datetime(now + timedelta(seconds=100), usegmt=True), "86400", "soon", "0"):
        with pytest.raises(Retry) as retry:
            once(says(plain(503, retry_after=text)))
        asked[text] = retry.value.after
    first, date, capped, unread, none = asked.values()
    assert first == 100
    assert 98 <= date <= 101
    assert capped == MAX_WAIT == 3600
    assert 1 <= unread <= 2  # the usual pause
    assert 1 <= none <= 2


@pytest.mark.parametrize(
    ("retry_after", "date", "wait"),
    [
        (None, None, None),
        ("120", None, 120),
        (" 7 ", None, 7),
        ("1e3", None, None),
        ("-1", None, None),
        ("٣", None, None),
        ("9" * 18, None, MAX_WAIT),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None, 0),
        ("Thu, 01 Jan 1970 00:20:00 GMT", None, 200),
        ("Thu, 01 Jan 1970 00:20:00 GMT", "Thu, 01 Jan 1970 00:19:50 GMT", 10),
        ("Thursday, 01-Jan-70 00:20:00 GMT", None, 200),
        ("Thu Jan  1 00:20:00 1970", None, 200),
        ("Thu, 99 Jan 1970 00:20:00 GMT", None, None),
        ("Thu, 01 Jan 99999 00:20:00 GMT", None, None),
        ("", None, None),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(retry_after: str | None, date: str | None, wait: float) -> None:
    """Seconds, the three forms of an HTTP date, and by the server's own clock where it names its time."""
    now = 946684800.0 if retry_after and "1999" in retry_after else 1000.0
    assert seconds(retry_after, date, now) == wait


def test_a_body_is_bounded_while_it_is_read() -> None:
    """Of an endless answer the beginning is kept, at once, and what is kept fits into a result."""

    async def endless(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"\x01" * 65536)
            await writer.drain()

    began = time.monotonic()
    result, _ = once(endless)
    assert time.monotonic() - began < 5
    assert result["truncated"] is True
    assert base64.b64decode(str(result["body_base64"])) == b"\x01" * KEPT
    assert isinstance(outcome_of_result(result), Succeeded)


def test_an_answer_with_a_length_beyond_the_limit_is_cut() -> None:
    """A long text is kept up to the limit, and not in the middle of a character."""
    result, _ = once(says(plain(body="€".encode() * 20_000)))
    assert result["truncated"] is True
    assert result["body"] == "€" * (KEPT // 3)
    assert isinstance(outcome_of_result(result), Succeeded)


def test_chunked_answers_are_joined() -> None:
    """Chunks become one body, their extensions and trailers none of it."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert once(says(head + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"))[0]["body"] == "abcde"


def test_nothing_is_decompressed() -> None:
    """A bomb of gzip stays the few bytes that it is, although nobody asked for gzip."""
    bomb = gzip.compress(bytes(10_000_000))
    result, _ = once(says(plain(body=bomb, content_encoding="gzip")))
    assert base64.b64decode(str(result["body_base64"])) == bomb[:KEPT]


@pytest.mark.parametrize(
    "body", [b"a\0b", b"\0", b"\xed\xa0\x80", b"\xff\xfe", b"\x01" * 8000, "\U0001f600".encode()]
)
def test_every_body_settles(body: bytes) -> None:
    """NUL, half surrogates and control characters make a result that can be stored, with nothing lost."""
    result, _ = once(says(plain(body=body)))
    kept = base64.b64decode(str(result["body_base64"])) if "body_base64" in result else str(result["body"]).encode()
    assert kept == body
    assert isinstance(outcome_of_result(result), Succeeded)
    assert b"\0" not in json.dumps(result).encode()
    assert "\\u0000" not in json.dumps(result)


def test_many_headers_are_cut_and_said_so() -> None:
    """An answer's headers take at most their share of a result; a name that stands there twice is joined."""
    many = "".join(f"X-{n}: {'v' * 300}\r\n" for n in range(60)) + f"X-Long: {'w' * 2000}\r\n"
    result, _ = once(says(plain(body=b"").replace(b"\r\n\r\n", f"\r\n{many}\r\n".encode())))
    assert result["headers_truncated"] is True
    assert len(json.dumps(result)) < 20_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n"
    assert once(says(head))[0]["headers"] == {"content-length": "0", "set-cookie": "a, b"}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * MAX_HEAD + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\0\0\0",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"",
    ],
    ids=range(13),
)
def test_what_is_no_answer_is_tried_again(answer: bytes) -> None:
    """Headers without an end, an answer that breaks off, and what is not HTTP are failures of the connection."""

    async def say(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    with pytest.raises(Retry):
        once(say, timeout=5)


def test_interim_answers_are_passed_over() -> None:
    """A 100 or 103 before the answer is not the answer."""
    assert once(says(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + plain(body=b"then")))[0]["body"] == "then"


def test_an_answer_that_comes_before_the_body_is_read_counts() -> None:
    """A server that refuses a large body and closes has answered all the same."""

    async def main() -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(plain(413, b"too large", connection="close"))
            await writer.drain()
            writer.write_eof()
            await reader.read()  # without this the kernel would answer with a reset, which throws the answer away
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(GiveUp, match="answered 413: too large"):
            await caller.call(f"http://127.0.0.1:{port}/", body="x" * 190_000)
        server.close()

    caller = Caller()
    caller.run(main)


def _drip(_head: bytes) -> Answer:
    async def drip(_request: Request, writer: asyncio.StreamWriter) -> None:
        for byte in _head:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    return drip


@pytest.mark.parametrize(
    "answer",
    [_drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000), _drip(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000), _drip(b"")],
    ids=["head", "body", "silence"],
)
def test_one_deadline_ends_a_server_that_drips(answer: Answer) -> None:
    """However often a byte comes, the call ends at its time limit and is tried again."""

    async def silent(request: Request, writer: asyncio.StreamWriter) -> None:
        await answer(request, writer)
        await asyncio.sleep(30)

    began = time.monotonic()
    with pytest.raises(Retry, match=r"no whole answer within 0\.5 s: waiting for the answer of 127\.0\.0\.1"):
        once(silent, timeout=0.5)
    assert 0.4 < time.monotonic() - began < 2


def test_the_attempts_own_deadline_is_heeded() -> None:
    """A call ends before the tick ends its attempt, whatever its own limit."""
    caller = Caller()

    async def main() -> None:
        async def silent(_request: Request, _writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(30)

        async with Server(silent) as server:
            near = replace(context(http=caller.service), deadline=time.monotonic() + 1.5)
            await http_request(HttpRequestPayload(url=server.url), near)

    began = time.monotonic()
    with pytest.raises(Retry, match="no whole answer within"):
        caller.run(main)
    assert time.monotonic() - began < 1.4


def test_a_refused_connection_is_tried_again() -> None:
    """Nobody listens: the error says which address cannot be reached."""
    caller = Caller()

    async def main() -> None:
        async with Server(says(plain())) as server:
            url = server.url
        with pytest.raises(Retry, match=r"127\.0\.0\.1 cannot be reached: Connection refused"):
            await caller.call(url)

    caller.run(main)


def test_connections_are_reused() -> None:
    """A hundred calls, one after another, take one connection; ten at once take ten."""
    caller = Caller()

    async def main() -> None:
        async with Server(says(plain())) as server:
            for _ in range(100):
                await caller.call(server.url, method="GET")
            assert (server.connections, len(server.requests)) == (1, 100)
            for _ in range(3):
                await asyncio.gather(*(caller.call(server.url) for _ in range(10)))
            assert (server.connections, len(server.requests)) == (10, 130)

    caller.run(main)


def test_a_connection_that_was_closed_meanwhile_costs_no_attempt() -> None:
    """A server may close a kept connection at any time: the call is made once more on a new one."""
    caller = Caller()
    asked = 0

    async def twice(_request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:  # the kept connection: closed without a word
            writer.close()
            return
        writer.write(plain())

    async def main() -> None:
        async with Server(twice) as server:
            for _ in range(2):
                assert (await caller.call(server.url))["status"] == 200
            assert (server.connections, len(server.requests)) == (2, 3)

    caller.run(main)


def test_a_connection_that_the_server_ends_is_not_kept() -> None:
    """`Connection: close`, HTTP/1.0 and an answer that was cut each end theirs."""
    for end in (
        plain(connection="close"),
        plain().replace(b"HTTP/1.1", b"HTTP/1.0"),
        plain(body=b"x" * (KEPT + 1)),
    ):
        caller = Caller()

        async def main(end: bytes = end, caller: Caller = caller) -> int:
            async with Server(says(end)) as server:
                for _ in range(3):
                    await caller.call(server.url)
                return server.connections

        assert caller.run(main) == 3


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an environment says of proxies reaches no call: a proxy would look names up by itself."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert once(says(plain()))[0]["status"] == 200


def test_a_second_tick_of_the_process_has_its_own_connections() -> None:
    """Connections belong to their event loop: the next one makes its own, and the first one's are closed."""
    caller = Caller()
    for _ in range(2):
        assert once(says(plain()), caller)[0]["status"] == 200
    assert not caller.service._clients


def test_what_a_server_says_unasked_is_no_answer() -> None:
    """A server that gives up an idle connection with a 408 has not answered the next call with it."""
    caller = Caller()

    async def give_up(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(plain())
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(plain(408, connection="close"))

    async def main() -> None:
        async with Server(give_up) as server:
            for _ in range(3):
                assert (await caller.call(server.url))["status"] == 200
                await asyncio.sleep(0.1)
            assert server.connections == 3
        async with Server(says(plain() + plain(500))) as server:
            for _ in range(3):
                assert (await caller.call(server.url))["status"] == 200

    caller.run(main)


def test_a_handshake_that_hangs_ends_at_the_deadline() -> None:
    """TLS is part of the call; what was given up half-way leaves nothing behind that later calls would meet."""
    caller = Caller()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def main() -> None:
        deaf = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = deaf.sockets[0].getsockname()[1]
        async with Server(says(plain())) as server:
            for _ in range(3):
                calls = [caller.call(f"https://127.0.0.1:{port}/", timeout=0.2) for _ in range(10)]
                for error in await asyncio.gather(*calls, return_exceptions=True):
                    assert isinstance(error, Retry)
                    assert "no whole answer within 0.2 s: connecting to" in error.reason
                assert (await caller.call(server.url))["status"] == 200
        deaf.close()

    caller.run(main)


@pytest.mark.parametrize(
    "headers", [{"Host": "x"}, {"Webhook-Id": "x"}, {"Connection": "upgrade"}, {"X": "a\r\nB: c"}, {"A B": "c"}]
)
def test_a_handlers_own_call_sets_no_forbidden_header(headers: dict[str, str]) -> None:
    """`ctx.http` refuses what a payload's model would have refused, without connecting."""
    caller = Caller()
    with pytest.raises(GiveUp, match="a header is refused"):
        caller.run(lambda: caller.service.call(HttpCall("http://127.0.0.1:9/", "id", headers=headers)))
