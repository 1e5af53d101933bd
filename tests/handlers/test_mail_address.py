import time

import pytest

from sweephand.handlers.mail.address import check_address


@pytest.mark.parametrize(
    "address",
    [
        "test@example.com",
        "first.last+tag@sub.example.co.uk",
        "o'brien@example.com",
        "!#$%&'*+/=?^_`{|}~-@example.com",
        "x@xn--bcher-kva.example",
        "a" * 64 + "@example.com",
        "1@1.example",
    ],
)
def test_a_plain_address_is_taken(address: str) -> None:
    """Every unquoted address with a domain passes unchanged."""
    assert check_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "test",
        "test@",
        "@example.com",
        "test@localhost",
        "test@example..com",
        "test@.example.com",
        "test@example.com.",
        "test@-example.com",
        "test@example-.com",
        "test@exam_ple.com",
        "test@127.0.0.1",
        "test@[127.0.0.1]",
        "a@b@example.com",
        ".test@example.com",
        "test.@example.com",
        "te..st@example.com",
        "te st@example.com",
        '"te st"@example.com',
        "Test <test@example.com>",
        "test@example.com, other@example.com",
        "test@example.com;other@example.com",
        "test@example.com\r\nBcc: evil@example.com",
        "test@example.com\n",
        "test\x00@example.com",
        "tést@example.com",
        "test@exämple.com",
        "test@example.com\u2028",
        "a" * 65 + "@example.com",
        "test@" + "a" * 64 + ".com",
        "test@" + ".".join(["a" * 60] * 5),
    ],
)
def test_anything_else_is_refused(address: str) -> None:
    """Names, lists, quotes, IP addresses, line breaks and letters beyond ASCII are no address."""
    with pytest.raises(ValueError, match="a mail address"):
        check_address(address)


def test_checking_takes_time_in_proportion_to_the_length() -> None:
    """The check takes less than a second even for a million characters that nearly match."""
    start = time.monotonic()
    for hostile in ("a." * 500_000 + "@", "a@" + "a-" * 500_000, "a@" + "-" * 1_000_000, "a@" + "a." * 500_000):
        with pytest.raises(ValueError, match="a mail address"):
            check_address(hostile)
    assert time.monotonic() - start < 1
