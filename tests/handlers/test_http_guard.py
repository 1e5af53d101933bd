"""No call reaches an address that is not public: by no spelling, no name, no redirect and no second lookup."""

import asyncio
import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from sweephand.domain.handler import GiveUp, Retry
from sweephand.layout import ROOT
from tests.certificate import NAME, Certificate, certificate
from tests.handlers.calling import Caller, loopback_opened
from tests.handlers.canary import CONTROLS
from tests.handlers.forbidden import URLS, V4, V6
from tests.handlers.http_server import Server, plain, says

__all__ = ["certificate", "loopback_opened"]
NAMESPACES = (["unshare", "--net"], ["unshare", "--map-root-user", "--net"])
"""As root, and as anybody where the kernel lets them."""


def namespace() -> Sequence[str]:
    """Return what starts a program in a network of its own, or nothing where that is refused."""
    if shutil.which("ip") is None:
        return ()
    tries = (each for each in NAMESPACES if shutil.which(each[0]))
    return next(
        (
            each
            for each in tries
            if subprocess.run([*each, "true"], check=False, capture_output=True).returncode == 0
        ),
        (),
    )


@pytest.mark.parametrize("kind", ["namespace", "connector"])
def test_no_forbidden_address_is_ever_connected_to(kind: str) -> None:
    """Where every address leads to a canary, the whole table opens no connection; a public address does reach it.

    The same table holds against resolver and connector, for machines that refuse a network namespace.
    """
    inside = namespace() if kind == "namespace" else ()
    if kind == "namespace" and not inside:
        pytest.skip("this machine refuses a network namespace; the table is held against the connector beside this")
    ran = subprocess.run(
        [*inside, sys.executable, "-m", "tests.handlers.canary", kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    saw: dict[str, Any] = json.loads(ran.stdout)
    assert saw["ended"] == {"refused": len(URLS) + 2 * len([*V4, *V6])}
    assert saw["seen"] == []
    reached = ["8.8.8.8", "2001:4860:4860::8888", "1.1.1.1", "8.8.4.4"]
    assert saw["seen_then"] == reached
    if kind == "namespace":
        assert saw["opened"] == 0
        assert saw["controls"] == ["200"] * len(CONTROLS)


def test_a_name_is_looked_up_once_and_the_judged_address_is_called() -> None:
    """A resolver whose second answer is a private address is asked once a call, and judged each time."""
    answers = [["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1"]]
    asked: list[str] = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        return answers[len(asked) - 1]

    caller = Caller(resolve=resolve)

    async def main() -> None:
        async with Server(says(plain())) as server:
            url = f"http://rebinding.example:{server.port}/"
            assert (await caller.call(url))["status"] == 200
            assert server.requests[0].headers["host"] == f"rebinding.example:{server.port}"
            with pytest.raises(GiveUp, match=r"rebinding\.example is 169\.254\.169\.254.*HTTP_ALLOW"):
                await caller.call(url)
            assert (await caller.call(url))["status"] == 200
            assert len(server.requests) == 2

    caller.run(main)
    assert asked == ["rebinding.example"] * 3


def test_a_kept_connection_serves_no_other_address() -> None:
    """A name that has moved is not called on the connection to where it was."""
    answers = [["127.0.0.1"], ["127.0.0.1"], ["127.0.0.9"]]
    caller = Caller(resolve=lambda _name: answers.pop(0))

    async def main() -> None:
        async with Server(says(plain())) as server:
            url = f"http://moving.example:{server.port}/"
            await caller.call(url)
            await caller.call(url)
            with pytest.raises(Retry, match=r"127\.0\.0\.9 cannot be reached"):
                await caller.call(url)
            assert (server.connections, len(server.requests)) == (1, 2)

    caller.run(main)


def test_one_forbidden_answer_among_others_refuses_the_call() -> None:
    """Every answer of the lookup is judged: none is picked that happens to be public."""
    caller = Caller(allowed=["127.0.0.1"], resolve=lambda _name: ["127.0.0.1", "10.0.0.1"])
    with pytest.raises(GiveUp, match=r"mixed\.example is 10\.0\.0\.1"):
        caller.run(lambda: caller.call("http://mixed.example/"))


def test_an_allowed_name_opens_what_it_resolves_to() -> None:
    """HTTP_ALLOW with a name opens its addresses for that name, and not for another that has them too."""
    caller = Caller(allowed=["inside.example"], resolve=lambda _name: ["127.0.0.1"])

    async def main() -> None:
        async with Server(says(plain())) as server:
            assert (await caller.call(f"http://INSIDE.example:{server.port}/"))["status"] == 200
            for host in ("other.example", "127.0.0.1", "sub.inside.example"):
                with pytest.raises(GiveUp, match=r"127\.0\.0\.1.*loopback"):
                    await caller.call(f"http://{host}:{server.port}/")
            assert len(server.requests) == 1

    caller.run(main)


def test_what_plain_sql_inserted_is_judged_too() -> None:
    """A payload that no API has seen is judged when it runs: a refused URL fails the job, without a retry."""
    caller = Caller(allowed=[])
    with pytest.raises(GiveUp, match=r"the call of http://127\.0\.0\.1 is refused: 127\.0\.0\.1.*HTTP_ALLOW"):
        caller.run(lambda: caller.call("http://127.0.0.1/"))


def test_a_name_without_an_address_is_tried_again() -> None:
    """A name that cannot be looked up may be there later."""

    def resolve(_name: str) -> list[str]:
        raise OSError(-2, "Name or service not known")

    caller = Caller(resolve=resolve)
    with pytest.raises(Retry, match=r"gone\.example cannot be looked up: Name or service not known"):
        caller.run(lambda: caller.call("http://gone.example/"))


def test_a_lookup_that_hangs_ends_at_the_deadline() -> None:
    """The lookup is part of the call, and calls that wait for the same name share one."""
    asked = 0
    ended = asyncio.Event()

    def resolve(_name: str) -> list[str]:
        nonlocal asked
        asked += 1
        asyncio.run_coroutine_threadsafe(ended.wait(), loop).result(10)
        return ["127.0.0.1"]

    caller = Caller(resolve=resolve)
    loop: asyncio.AbstractEventLoop

    async def main() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        calls = [caller.call("http://slow.example/", timeout=0.3) for _ in range(5)]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, Retry)
            assert "no whole answer within 0.3 s: looking up its host" in error.reason
        ended.set()
        await asyncio.sleep(0.05)

    caller.run(main)
    assert asked == 1


def test_redirects_are_followed_as_far_as_asked() -> None:
    """With `max_redirects` each hop is another request, and the last answer is the result, with its URL."""
    caller = Caller()

    async def main() -> None:
        hops = (plain(307, location="/a"), plain(308, location="b"), plain(302, location="/c"), plain(body=b"end"))
        async with Server(says(*hops)) as server:
            result = await caller.call(server.url, max_redirects=3, body="x", headers={"X-Own": "1"})
            assert (result["url"], result["body"]) == (f"{server.url}/c", "end")
            assert [(r.method, r.path, r.body) for r in server.requests] == [
                ("POST", "/", b"x"),
                ("POST", "/a", b"x"),
                ("POST", "/b", b"x"),
                ("GET", "/c", b""),
            ]
            assert all(r.headers["x-own"] == "1" for r in server.requests)
            assert "content-type" not in server.requests[3].headers
        async with Server(says(plain(307, location="/again"))) as server:
            with pytest.raises(GiveUp, match=r"answered 307 after 2 redirects: it redirects to .*/again"):
                await caller.call(server.url, max_redirects=2)
            assert len(server.requests) == 3

    caller.run(main)


@pytest.mark.parametrize(
    "target",
    [
        *("http://169.254.169.254/latest/meta-data/", "//10.0.0.1/", "http://[::1]/", "http://2130706433/"),
        *("http://inside.example/", "file:///etc/passwd", "gopher://127.0.0.1/", "http://u:p@8.8.8.8/", "http://["),
        *("http://[::ffff:169.254.169.254]/", "http://8.8.8.8:0/", "http://ä.example/"),
    ],
)
def test_a_redirect_to_a_forbidden_place_is_refused(target: str) -> None:
    """Every hop is judged as the first one: the job fails with the reason, and there is no retry."""
    caller = Caller(allowed=["127.0.0.1"], resolve=lambda _name: ["10.1.2.3"])

    async def main() -> None:
        async with Server(says(plain(307, location=target).replace("ä".encode(), b"\xe4"))) as server:
            with pytest.raises(GiveUp, match="refused"):
                await caller.call(server.url, max_redirects=5)
            assert len(server.requests) == 1

    caller.run(main)


def test_a_redirect_to_another_origin_carries_no_secret() -> None:
    """Across origins only what describes the content is sent on, and that host's own keys sign."""
    caller = Caller(
        resolve=lambda _name: ["127.0.0.1"],
        keys=["a.example=whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"],
    )

    async def main() -> None:
        async with Server(says(plain())) as other:
            place = f"http://b.example:{other.port}/there"
            async with Server(says(plain(307, location=place))) as first:
                headers = {"Authorization": "x", "X-Api-Key": "y", "Cookie": "z", "Content-Type": "a/b"}
                url = f"http://a.example:{first.port}/"
                result = await caller.call(url, max_redirects=1, headers=headers, body="x")
                assert result["url"] == place
                sent, onward = first.requests[0].headers, other.requests[0].headers
                assert {"authorization", "x-api-key", "cookie", "webhook-signature"} <= set(sent)
                assert not {"authorization", "x-api-key", "cookie", "webhook-signature"} & set(onward)
                assert onward["content-type"] == "a/b"
                assert onward["webhook-id"] == sent["webhook-id"]

    caller.run(main)


def test_tls_is_checked_by_name_at_the_judged_address(certificate: Certificate) -> None:
    """The connection goes to the address of the lookup, with SNI and certificate of the name."""
    told: list[str | None] = []

    def sni(_connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        told.append(name)

    certificate.server.sni_callback = sni
    caller = Caller(ca_file=str(certificate.cafile), resolve=lambda _name: ["127.0.0.1"])

    async def main() -> None:
        async with Server(says(plain()), tls=certificate.server) as server:
            for _ in range(2):
                assert (await caller.call(f"https://{NAME}:{server.port}/"))["status"] == 200
            assert server.requests[0].headers["host"] == f"{NAME}:{server.port}"
            assert server.connections == 1
            assert (await caller.call(server.url))["status"] == 200  # the certificate is for 127.0.0.1 too
            with pytest.raises(Retry, match=r"certificate of other\.example is refused: .*other\.example"):
                await caller.call(f"https://other.example:{server.port}/")

    caller.run(main)
    certificate.server.sni_callback = None
    assert told == [NAME, None, "other.example"]


def test_an_unknown_authority_is_refused(certificate: Certificate) -> None:
    """Without HTTP_CA_FILE the system's authorities alone count, and there is no way to call all the same."""
    caller = Caller(resolve=lambda _name: ["127.0.0.1"])

    async def main() -> None:
        async with Server(says(plain()), tls=certificate.server) as server:
            with pytest.raises(Retry, match=r"certificate of hooks\.example\.com is refused: self.signed"):
                await caller.call(f"https://{NAME}:{server.port}/")
            assert server.requests == []

    caller.run(main)


def test_tls_does_not_give_way_to_a_redirect(certificate: Certificate) -> None:
    """A redirect from https to http is refused: what was sent under TLS does not go on in clear."""
    caller = Caller(ca_file=str(certificate.cafile))

    async def main() -> None:
        answer = says(plain(307, location="http://127.0.0.1:1/"))
        async with Server(answer, tls=certificate.server) as server:
            with pytest.raises(GiveUp, match="redirects from https to http://127"):
                await caller.call(server.url, max_redirects=1)

    caller.run(main)


def test_a_plain_answer_to_tls_is_tried_again() -> None:
    """A server without TLS is not spoken to in clear."""
    caller = Caller()

    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(plain())
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Retry, match=r"no TLS with 127\.0\.0\.1"):
            await caller.call(f"https://127.0.0.1:{port}/", timeout=5)
        server.close()

    caller.run(main)
