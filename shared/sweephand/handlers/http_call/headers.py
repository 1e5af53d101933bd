"""Which headers a caller may send: what cannot change where a message ends, who it is for, or who signed it."""

import re
from collections.abc import Mapping

MAX_HEADERS = 50
MAX_NAME = 100
"""Characters of a header's name."""
MAX_VALUE = 4096
"""Characters of a header's value."""
MAX_ALL = 16 * 1024
"""Characters of all headers together: what servers take varies, Node's takes 16 KiB."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
"""A token (RFC 9110, 5.6.2)."""
_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?\Z")
"""ASCII without control characters other than tab, and no blanks at either end (RFC 9110, 5.5)."""
_OURS = frozenset({"host", "content-length", "accept-encoding"})
_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
        *("te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "expect"),
    }
)
"""What one connection's ends tell each other (RFC 9110, 7.6.1), and Expect, which would hold the body back."""
SIGNATURE = "webhook-"
_TO_ANY_ORIGIN = frozenset({"accept", "accept-language", "content-type", "content-language", "user-agent"})


def check_name(name: str) -> str:
    """Return `name` if a caller may set this header; raises `ValueError`."""
    if len(name) > MAX_NAME:
        raise ValueError(f"a header's name has at most {MAX_NAME} characters")
    if not _NAME.match(name):
        raise ValueError("a header's name is a token: letters, digits and !#$%&'*+.^_`|~-")
    lower = name.lower()
    if lower in _OURS or lower in _HOP_BY_HOP or lower.startswith(SIGNATURE):
        raise ValueError(f"{name} is set by Sweephand or belongs to the connection: leave it out")
    return name


def check_value(value: str) -> str:
    """Return `value` if it is one line of ASCII; raises `ValueError`."""
    if len(value) > MAX_VALUE:
        raise ValueError(f"a header's value has at most {MAX_VALUE} characters")
    if not _VALUE.match(value):
        raise ValueError("a header's value is one line of printable ASCII, without blanks at its ends")
    return value


def check_all(headers: Mapping[str, str]) -> None:
    """Raise `ValueError` for a name that stands there twice, in whatever case, and for too much of everything."""
    seen: set[str] = set()
    for name in headers:
        if name.lower() in seen:
            raise ValueError(f"{name} stands there twice: names differ by more than case")
        seen.add(name.lower())
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_ALL:
        raise ValueError(f"the headers have more than {MAX_ALL} characters together")


def for_other_origin(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what of a caller's headers may follow a redirect to another origin: what describes, and no secret."""
    return {name: value for name, value in headers.items() if name.lower() in _TO_ANY_ORIGIN}
