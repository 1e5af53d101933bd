"""HTTP_ALLOW: the hosts and address ranges that calls may reach although the guard would refuse them."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from sweephand.handlers.http_call.addresses import Address, Network, forbidden
from sweephand.handlers.http_call.target import Target, check_name


@dataclass(frozen=True, slots=True)
class Allowed:
    """Host names, in lower case, and networks that are opened: exactly these, and nothing that looks like them.

    `127.0.0.0/8` opens neither `::1` nor `::ffff:127.0.0.1`. A name opens whatever it resolves to.
    """

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, words: Iterable[str]) -> "Allowed":
        """Read host names, addresses and CIDR ranges; raises `ValueError`, naming the word that is neither."""
        names, networks = set(), []
        for word in words:
            if "/" in word or ":" in word or word.rpartition(".")[2].isdecimal():
                networks.append(_network(word))
            else:
                names.add(_name(word))
        return cls(frozenset(names), tuple(networks))

    def opens(self, name: str) -> bool:
        """Tell whether `name` is opened, with all that it resolves to."""
        return name.lower() in self.names

    def refusal(self, address: Address) -> str | None:
        """Return why no call may go to `address`, or None when one may."""
        if any(address.version == network.version and address in network for network in self.networks):
            return None
        return forbidden(address)

    def literal_refusal(self, target: Target) -> str | None:
        """Return why a URL whose host is an address may not be called; None for a name: the run judges that."""
        return None if target.address is None else self.refusal(target.address)


def _network(word: str) -> Network:
    try:
        return ip_network(word)
    except ValueError:
        raise ValueError(
            f"{word!r} is neither a host name nor an address nor a range such as 10.1.0.0/16, whose bits behind "
            "the prefix are 0"
        ) from None


def _name(word: str) -> str:
    try:
        check_name(word)
    except ValueError as e:
        raise ValueError(f"{word!r} is neither a host name nor a range of addresses: {e}") from None
    return word.lower()


class _Installed:
    """What this process allows: a payload model is checked without knowing the settings, so this stands here."""

    allowed = Allowed()


def install(allowed: Allowed) -> None:
    """Have payloads of this process judged by `allowed` from now on; the composition root calls it."""
    _Installed.allowed = allowed


def installed() -> Allowed:
    """Return what payloads of this process are judged by."""
    return _Installed.allowed
