"""Where a call goes: the parts of its URL, of which only one reading is possible.

Nothing is normalised: a URL that two programs could read differently is refused, as one could check it and the
other call it. So a host is a name of plain labels, four plain decimals, or an IPv6 address in brackets.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from sweephand.handlers.http_call.addresses import Address

MAX_URL = 2048
"""Characters of a URL."""
MAX_NAME = 253
"""Characters of a host name (RFC 1035, 2.3.4, less the dots that only the wire has)."""
MAX_PORT = 65535
PORTS = {"http": 80, "https": 443}

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")
_NUMBER = re.compile(r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)\Z")
"""What ends a host that resolvers read as an IPv4 address, however it begins (URL standard, "ends in a number")."""
_DECIMALS = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL's parts. `host` is in lower case and without brackets; `address` is set where it is one."""

    scheme: str
    host: str
    port: int
    path: str
    """With the query, and without the fragment, which no server is sent."""
    address: Address | None

    @property
    def authority(self) -> str:
        """The host as a `Host` header names it: the port stands there unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The URL as it is called."""
        return f"{self.origin}{self.path}"


def parse(url: str) -> Target:
    """Return the parts of an `http://` or `https://` URL; raises `ValueError`, which says what is wrong."""
    if len(url) > MAX_URL:
        raise ValueError(f"the URL is longer than {MAX_URL} characters")
    _check_characters(url)
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in PORTS:
        raise ValueError("the URL must start with http:// or https://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path = rest[len(authority) :].partition("#")[0]
    if "@" in authority:
        raise ValueError("the URL holds credentials: send them in a header")
    host, port = _split(authority, PORTS[scheme])
    name, address = read_host(host)
    return Target(scheme, name, port, path if path.startswith("/") else f"/{path}", address)


def check_name(name: str) -> None:
    """Raise `ValueError` unless `name` is labels of letters, digits, `-` and `_`, the last of them no number."""
    if len(name) > MAX_NAME:
        raise ValueError(f"a host name has at most {MAX_NAME} characters")
    if not name.isascii():
        raise ValueError("a host name is ASCII: write an international one in its xn-- form")
    labels = name.split(".")
    if any(not _LABEL.match(label) for label in labels):
        raise ValueError("a host name consists of labels of 1 to 63 letters, digits, - and _, joined by dots")
    if _NUMBER.match(labels[-1]):
        raise ValueError("an IPv4 address is four plain decimals, such as 192.0.2.1")


def _check_characters(url: str) -> None:
    bad = next((char for char in url if not "!" <= char <= "~" or char == "\\"), None)
    if bad is not None and ord(bad) > 0x7E:  # noqa: PLR2004 - the last printable character of ASCII
        raise ValueError(
            f"the URL has the character {bad!a}: a path's is %-encoded, an international host is in its xn-- form"
        )
    if bad is not None:
        raise ValueError(f"the URL has the character {bad!a}")


def _split(authority: str, default: int) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        return authority, default
    if not _PORT.match(port) or not 1 <= int(port) <= MAX_PORT:
        raise ValueError("the port is 1 to 65535")
    return host, int(port)


def read_host(text: str) -> tuple[str, Address | None]:
    """Return the one spelling of a host, and its address where it is one; raises `ValueError`.

    A name in lower case; four plain decimals; an IPv6 address in brackets, which its spelling leaves out.
    """
    if not text:
        raise ValueError("the URL names no host")
    if "%" in text:
        raise ValueError("the host holds a percent sign: neither encoded characters nor zones are taken")
    if text.startswith("["):
        v6 = _v6(text)
        return str(v6), v6
    if _DECIMALS.match(text):
        v4 = _v4(text)
        return str(v4), v4
    check_name(text)
    return text.lower(), None


def _v4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise ValueError("an IPv4 address is four decimals of 0 to 255") from None


def _v6(text: str) -> IPv6Address:
    try:
        return IPv6Address(text[1:].removesuffix("]") if text.endswith("]") else text)
    except ValueError:
        raise ValueError("what stands in brackets is no IPv6 address") from None
