"""Calls every forbidden form of an address, in a network where each address leads to a canary; prints what it saw.

    unshare --net python -m tests.handlers.canary namespace
    python -m tests.handlers.canary connector

In a namespace every address of IPv4 and IPv6 is this machine's own, and a canary listens at the ports of the
table's URLs; the kernel's counter of opened connections catches any other. Where namespaces are refused, what
connects a socket is replaced by what notes where to.
"""

import asyncio
import json
import socket
import subprocess
import sys
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from unittest import mock

from sweephand.domain.handler import GiveUp
from sweephand.domain.services import HttpCall, NoAnswerError
from sweephand.handlers.http_call.service import HttpService
from tests.handlers.forbidden import URLS, V4, V6
from tests.handlers.http_server import plain

PORTS = (80, 81, 443, 6379, 8080, 8443)
ROUTES = (
    "ip link set lo up",
    "ip route add local 0.0.0.0/0 dev lo",
    "ip -6 route add local ::/0 dev lo",
)
CONTROLS = (
    "http://8.8.8.8/",
    "http://[2001:4860:4860::8888]/",
    "http://[::ffff:1.1.1.1]/",
    "http://public.example/",
)
"""Public addresses, which do reach the canary: else it could not be trusted to see anything."""


def opened() -> int:
    """Return how many connections this namespace has begun (/proc/net/snmp, both IP versions)."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line[:4] == "Tcp:")
    return int(values[names.index("ActiveOpens")])


def plainly(text: str) -> str:
    """Return an address without the IPv6 that it is mapped into."""
    address = ip_address(text)
    return str(getattr(address, "ipv4_mapped", None) or address)


async def listen(seen: list[str]) -> list[asyncio.Server]:
    """Serve every address at PORTS, and note who came."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(plainly(writer.get_extra_info("sockname")[0]))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(plain())
        writer.close()

    servers = []
    for port in PORTS:
        both = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        servers.append(await asyncio.start_server(serve, sock=both))
    return servers


def watch_connector(seen: list[str]) -> None:
    """Replace what connects a socket by what notes the address and fails."""

    async def note(_loop: object, _raw: object, address: tuple[str, int]) -> None:
        seen.append(plainly(address[0]))
        raise ConnectionRefusedError

    mock.patch.object(asyncio.SelectorEventLoop, "sock_connect", note).start()


async def calls(seen: list[str]) -> dict[str, object]:
    """Make every call, and say how each ended."""
    answers: dict[str, list[str]] = {f"name-{n}.example": [address] for n, address in enumerate([*V4, *V6])}
    answers |= {f"mixed-{n}.example": ["8.8.8.8", address] for n, address in enumerate([*V4, *V6])}
    answers |= {"public.example": ["8.8.4.4"]}
    service = HttpService(resolve=answers.__getitem__)
    before = opened()
    ended = Counter[str]()
    for url in [*URLS, *(f"http://{name}/" for name in answers if name != "public.example")]:
        ended[await _call(service, url)] += 1
    refused = {"ended": ended, "seen": list(seen), "opened": opened() - before}
    return {**refused, "controls": [await _call(service, url) for url in CONTROLS], "seen_then": seen}


async def _call(service: HttpService, url: str) -> str:
    try:
        answer = await service.call(HttpCall(url, "id", method="GET", timeout=5))
    except GiveUp:
        return "refused"
    except NoAnswerError as e:
        return f"failed: {e}"
    return str(answer.status)


async def main(kind: str) -> dict[str, object]:
    """Make the calls where they can be seen."""
    seen: list[str] = []
    if kind == "namespace":
        await listen(seen)
    else:
        watch_connector(seen)
    return await calls(seen)


if __name__ == "__main__":
    if sys.argv[1] == "namespace":
        for route in ROUTES:
            subprocess.run(route.split(), check=True)
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1]))))
