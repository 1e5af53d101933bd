"""Misspelt settings are found before anything starts."""

import pytest

from infra.local.external_services import NAMES
from infra.local.serving.check_handlers import misspelt


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAIL_ULR", "MAIL_URL"),
        ("MAIL_UR", "MAIL_URL"),
        ("MAIL_URLS", "MAIL_URL"),
        ("NAIL_URL", "MAIL_URL"),
        ("STORAGE_PREFIXE", "STORAGE_PREFIXES"),
        ("REDIS_URI", "REDIS_URL"),
    ],
)
def test_a_name_one_letter_off_is_found(name: str, meant: str) -> None:
    """A letter that is missing, too many, another, or in its neighbour's place."""
    assert misspelt([name, *NAMES]) == {name: meant}


@pytest.mark.parametrize("name", ["PATH", "HOME", "STORES", "SHELL", "MAIL", "EMAIL_URLS", "HANDLE", "LIRU_MAIL"])
def test_other_programs_names_are_left_alone(name: str) -> None:
    """What is further off, or too short to tell, is no mistake."""
    assert misspelt([name]) == {}
