"""The functions, composed anew for each test over the real services."""

from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest

from infra.local.services.services import Services
from sweephand import app
from tests.http.api import KEY, OTHER_KEY, Api

SETTINGS = {
    "SWEEPHAND_API_KEYS": f"{KEY}, sha256:{sha256(OTHER_KEY.encode()).hexdigest()}",
    "HANDLERS": "tests.http.handlers",
}
Configure = Callable[..., None]


def forget() -> None:
    """Close what was composed, and have the next request compose it anew."""
    app.close()
    for part in vars(app).values():
        if hasattr(part, "cache_clear"):
            part.cache_clear()


@pytest.fixture
def configure(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Yield what changes settings for the rest of a test; None takes one away."""

    def change(**settings: str | None) -> None:
        for name, value in settings.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        forget()

    change(**services.env, **SETTINGS)
    yield change
    forget()


@pytest.fixture
def api(configure: Configure, clean: Services) -> Api:
    """Return the interface over an empty record."""
    return Api()


@pytest.fixture
def other(configure: Configure, clean: Services) -> Api:
    """Return the same for another caller."""
    return Api(OTHER_KEY)
