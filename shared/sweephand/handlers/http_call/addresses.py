"""Which addresses no call may go to: a table of our own, and the IPv4 address that an IPv6 address carries.

Not `ipaddress.is_global`: it lets NAT64, 6to4, IPv4-compatible addresses, 168.63.129.16 and multicast pass, and its
answers differ between versions of Python. The ranges are those of IANA's special-purpose registries
(https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry, RFC 6890) and what
clouds keep beside them.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_V4 = tuple(
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "Azure's host"),
        ("169.254.0.0/16", "link-local, where clouds answer with credentials"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relays"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6_GLOBAL = IPv6Network("2000::/3")
"""The only part of IPv6 that holds public hosts; ranges below that lie outside only name the reason."""
_V6 = tuple(
    (IPv6Network(network), name)
    for network, name in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64 of a local network"),
        ("100::/64", "discard"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_CARRIERS = tuple(
    (IPv6Network(network), shift)
    for network, shift in (
        ("::/96", 0),
        ("::ffff:0:0/96", 0),
        ("::ffff:0:0:0/96", 0),
        ("64:ff9b::/96", 0),
        ("64:ff9b:1::/48", 0),
        ("2002::/16", 80),
    )
)
"""IPv6 ranges that carry an IPv4 address, and how many bits stand behind it."""
_TEREDO = IPv6Network("2001::/32")
_LOW = 2**32 - 1


def carried(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that `address` leads to, or None where it carries none.

    Mapped, compatible, translated (RFC 6052, 2765), NAT64, 6to4 (RFC 3056), and Teredo's client, which stands there
    with its bits turned (RFC 4380).
    """
    if int(address) <= 1:  # unspecified and loopback carry nothing
        return None
    if address in _TEREDO:
        return IPv4Address(~int(address) & _LOW)
    for network, shift in _CARRIERS:
        if address in network:
            return IPv4Address(int(address) >> shift & _LOW)
    return None


def forbidden(address: Address) -> str | None:
    """Return why no call may go to `address`, or None for a public one.

    An IPv4-mapped IPv6 address reaches the IPv4 address itself, and is judged as that. Every other IPv6 address
    that carries an IPv4 address is forbidden, whatever it carries: a gateway somewhere decides where it leads.
    """
    if isinstance(address, IPv4Address):
        return next((_said(address, name, each) for each, name in _V4 if address in each), None)
    inner = carried(address)
    if address in _MAPPED and inner is not None:
        wrong = forbidden(inner)
        return wrong and f"{address} carries {wrong}"
    for network, name in _V6:
        if address in network:
            carries = f" and carries {inner}" if inner is not None else ""
            return _said(address, name, network) + carries
    return None if address in _V6_GLOBAL else f"{address} lies outside {_V6_GLOBAL}, where public hosts are"


def _said(address: Address, name: str, network: Network) -> str:
    return f"{address}, an address that is not public ({name}, {network})"
