"""The check of a mail address: only the plain ASCII form passes, which every mail system takes."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_ADDRESS = 254
"""The longest address, in characters (RFC 5321, 4.5.3.1.3, less the angle brackets)."""
MAX_LOCAL = 64
MAX_LABEL = 63

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\Z")


def check_address(address: str) -> str:
    """Return `address` if it is `local@domain` as RFC 5321 writes it, without quotes or a display name.

    The domain has at least two labels and is no IP address.
    Raises `ValueError`, which names the mistake. For letters beyond ASCII it asks for the `xn--` form:
    the caller must choose the conversion, as IDNA 2003 and IDNA 2008 lead `straße.de` to different domains.
    """
    if not address.isascii():
        raise ValueError("a mail address is ASCII: write an international domain in its xn-- form")
    if len(address) > MAX_ADDRESS:
        raise ValueError(f"a mail address has at most {MAX_ADDRESS} characters")
    local, at, domain = address.rpartition("@")
    if not at or len(local) > MAX_LOCAL or not _LOCAL.match(local):
        raise ValueError("a mail address is name@domain, without quotes, spaces or a display name")
    labels = domain.split(".")
    if len(labels) == 1 or not all(_is_label(label) for label in labels) or labels[-1].isdigit():
        raise ValueError("a mail address ends in a domain such as example.com")
    return address


def _is_label(label: str) -> bool:
    # Check the length first: the expression backtracks once for each hyphen.
    return len(label) <= MAX_LABEL and _LABEL.match(label) is not None


MailAddress = Annotated[
    str,
    Field(max_length=MAX_ADDRESS, examples=["test@example.com"], json_schema_extra={"format": "email"}),
    AfterValidator(check_address),
]
"""One mail address, for a payload model."""
