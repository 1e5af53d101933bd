"""Which hosts a call may reach, before any connection is made."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from pydantic import ValidationError

from sweephand.handlers.http_call.addresses import carried, forbidden
from sweephand.handlers.http_call.allow import Allowed
from sweephand.handlers.http_call.target import MAX_URL, parse
from sweephand.handlers.http_request import HttpRequestPayload
from tests.handlers.forbidden import PUBLIC, URLS, V4, V6


def test_there_are_a_hundred_forms_of_forbidden_addresses() -> None:
    """The table that the guard is held to has well over a hundred forms."""
    assert len(set(URLS)) >= 150


@pytest.mark.parametrize("url", URLS, ids=ascii)
def test_a_forbidden_url_is_refused_at_create(url: str) -> None:
    """A payload with such a URL is refused, and the fault stands at `url`."""
    with pytest.raises(ValidationError) as refused:
        HttpRequestPayload(url=url)
    assert {fault["loc"] for fault in refused.value.errors()} == {("url",)}


@pytest.mark.parametrize("address", [*V4, *V6])
def test_a_forbidden_address_is_refused_as_a_lookups_answer(address: str) -> None:
    """What a name may not resolve to is what a URL may not name."""
    said = forbidden(ip_address(address))
    assert said is not None
    assert str(ip_address(address)) in said


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_url_is_taken(url: str) -> None:
    """A URL that can be read in one way, and names no forbidden address, is taken as it is."""
    assert HttpRequestPayload(url=url).url == url


def test_the_table_ends_where_its_ranges_do() -> None:
    """Of all IPv4 addresses, sampled at both ends of each /16, as many are public as should be."""
    public = sum(
        forbidden(IPv4Address((high << 16) + low)) is None for high in range(2**16) for low in (0x0001, 0xFFFE)
    )
    # 0/8 10/8 127/8: 768 · 100.64/10: 64 · 169.254 192.168: 2 · 172.16/12: 16 · 198.18/15: 2 · 224/3: 8192 of /16s;
    # and 192.0.0.0/24 alone has one of the samples.
    assert public == 2 * (2**16 - 768 - 64 - 2 - 16 - 2 - 8192) - 1


@pytest.mark.parametrize(
    ("address", "inner"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::127.0.0.1", "127.0.0.1"),
        ("::ffff:0:127.0.0.1", "127.0.0.1"),
        ("64:ff9b::169.254.169.254", "169.254.169.254"),
        ("64:ff9b:1::10.0.0.1", "10.0.0.1"),
        ("2002:a9fe:a9fe::1", "169.254.169.254"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),  # RFC 4380's example, 4
        ("::1", None),
        ("::", None),
        ("2606:4700:4700::1111", None),
    ],
)
def test_an_ipv6_address_is_unwrapped(address: str, inner: str | None) -> None:
    """The IPv4 address in a mapped, compatible, translated, NAT64, 6to4 or Teredo address is found."""
    assert carried(IPv6Address(address)) == (None if inner is None else IPv4Address(inner))


def test_a_refusal_names_address_range_and_cure() -> None:
    """The sentence says which address is refused, what kind it is, and which setting opens it."""
    with pytest.raises(ValidationError, match=r"169\.254\.169\.254.*link-local.*169\.254\.0\.0/16.*HTTP_ALLOW"):
        HttpRequestPayload(url="http://169.254.169.254/latest/meta-data/")
    assert "carries 127.0.0.1" in (forbidden(IPv6Address("64:ff9b::7f00:1")) or "")


@pytest.mark.parametrize(
    ("words", "opened", "closed"),
    [
        (["127.0.0.0/8"], ["127.0.0.1", "127.9.9.9"], ["::1", "10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]),
        (["127.0.0.1"], ["127.0.0.1"], ["127.0.0.2"]),
        (["::1"], ["::1"], ["::2", "127.0.0.1"]),
        (["10.1.0.0/16", "fd00::/8"], ["10.1.2.3", "fd12::1"], ["10.2.0.1", "fc00::1"]),
        (["::ffff:0:0/96"], ["::ffff:10.0.0.1"], ["10.0.0.1"]),
        (["0.0.0.0/0"], ["169.254.169.254"], ["::1"]),
        (["example.com"], [], ["127.0.0.1"]),
        ([], ["8.8.8.8"], ["127.0.0.1"]),
    ],
)
def test_allow_opens_exactly_what_it_names(words: list[str], opened: list[str], closed: list[str]) -> None:
    """A range opens its own addresses: none of the other IP version, and none that carries one of them."""
    allowed = Allowed.of(words)
    assert [address for address in opened if allowed.refusal(ip_address(address))] == []
    assert [address for address in closed if not allowed.refusal(ip_address(address))] == []


def test_allow_opens_a_name_and_no_other() -> None:
    """A name is opened in whatever case, without its subdomains and without its domain."""
    allowed = Allowed.of(["Internal.Example.com"])
    assert allowed.opens("INTERNAL.example.com")
    assert not any(map(allowed.opens, ("example.com", "a.internal.example.com", "internal.example.com.evil.org")))


@pytest.mark.parametrize(
    "word",
    ["10.0.0.1/8", "10.0.0.0/33", "127.1", "0x7f.0.0.1", "a b", "*.example.com", "http://x", "", "[::1]", "1"],
)
def test_allow_refuses_what_it_cannot_read(word: str) -> None:
    """A word that is neither a name nor a range is an error that quotes it, rather than one that opens nothing."""
    with pytest.raises(ValueError, match="neither a host name"):
        Allowed.of([word])


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("HTTP://Example.COM", "http://example.com", "/"),
        ("https://example.com:443?x=1#y", "https://example.com", "/?x=1"),
        ("http://example.com:8080/a/../b//c", "http://example.com:8080", "/a/../b//c"),
        ("https://[2606:4700:0:0::1]:8443/%7E", "https://[2606:4700::1]:8443", "/%7E"),
        (f"http://example.com/{'a' * (MAX_URL - 19)}", "http://example.com", f"/{'a' * (MAX_URL - 19)}"),
    ],
)
def test_a_url_is_sent_as_it_is_written(url: str, origin: str, path: str) -> None:
    """Scheme and host are in lower case; the path is not normalised, and its fragment stays here."""
    target = parse(url)
    assert (target.origin, target.path) == (origin, path)
