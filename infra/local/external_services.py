"""Which real services `sweephand dev` uses in place of its own, and the settings of its functions."""

import secrets
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from urllib.parse import urlsplit

from .services.service import ServiceError

KEY = "dev-key"
"""The API's key while everything is local. With a real service behind the API, a known key would be a hole."""
RECORD = ["SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL"]
"""The variables of a Supabase project. The functions use DATABASE_URL where STORE is direct."""
PASSED = (
    *("HANDLERS", "STORE", "TICK_BUDGET_SECONDS", "LINGER_SECONDS", "RETENTION_DAYS"),
    *("ASYNC_SLOTS", "THREAD_SLOTS", "PROCESS_SLOTS", "DRAINERS_URL", "MAX_DRAINERS"),
    *("MAIL_URL", "MAIL_FROM", "STORAGE_PREFIXES", "SWEEPHAND_API_KEYS"),
    *("HTTP_ALLOW", "HTTP_CA_FILE", "WEBHOOK_SIGNING_KEYS"),
)
"""Settings of the shell that the functions get; `env` keeps them for `sweephand --env` too."""
NAMES = frozenset({*PASSED, *RECORD, "REDIS_URL", "WAKE_URL", "SWEEPHAND_API_KEY", "SWEEPHAND_URL"})
"""Every setting of the functions, the emulation and the command line."""
UNKNOWN_KEY = "YOUR-KEY"
"""The key that is shown where SWEEPHAND_API_KEYS has only hashes."""
SENDER = "sweephand@example.com"


@dataclass(frozen=True, slots=True)
class ExternalServices:
    """The real services that the shell's environment names."""

    env: Mapping[str, str]

    @classmethod
    def of(cls, env: Mapping[str, str], ours: AbstractSet[str]) -> "ExternalServices":
        """Read `env`, without services whose key is among `ours`: the shell has sourced an earlier run's `env`.

        Raises ServiceError when only one of SUPABASE_URL and SUPABASE_KEY is given.
        """
        given = {name: value for name, value in env.items() if value}
        if given.get("SUPABASE_KEY") in ours:
            given = {name: value for name, value in given.items() if name not in RECORD}
        if urlsplit(given.get("REDIS_URL", "")).password in ours:
            del given["REDIS_URL"]
        if ("SUPABASE_URL" in given) != ("SUPABASE_KEY" in given):
            raise ServiceError("SUPABASE_URL and SUPABASE_KEY go together: set both or neither")
        return cls(given)

    @property
    def record(self) -> bool:
        """Whether a real Supabase is named."""
        return "SUPABASE_URL" in self.env

    @property
    def index(self) -> bool:
        """Whether a real Redis is named."""
        return "REDIS_URL" in self.env

    @property
    def real(self) -> bool:
        """Whether the environment names a service, a mail server, a bucket or a key outside of this machine."""
        places = [self.env.get("MAIL_URL", ""), *self.env.get("STORAGE_PREFIXES", "").split(",")]
        signs = bool(self.env.get("WEBHOOK_SIGNING_KEYS"))
        return (
            self.record
            or self.index
            or signs
            or any(place and not place.strip().startswith("file:") for place in places)
        )

    def over(self, local: Mapping[str, str], url: str) -> dict[str, str]:
        """Return the functions' settings: from the shell, else of the `local` services; with the API at `url`."""
        names = [*PASSED]
        names += RECORD if self.record else []
        names += ["REDIS_URL"] if self.index else []
        given = {name: self.env[name] for name in names if name in self.env}
        if self.real and KEY in (key.strip() for key in given.get("SWEEPHAND_API_KEYS", KEY).split(",")):
            given["SWEEPHAND_API_KEYS"] = secrets.token_urlsafe(24)
        values = {"MAIL_FROM": SENDER, "SWEEPHAND_API_KEYS": KEY, **local, **given}
        plain = [key for key in values["SWEEPHAND_API_KEYS"].split(",") if not key.strip().startswith("sha256:")]
        wanted = self.env.get("SWEEPHAND_API_KEY", "")
        known = wanted and (wanted in (key.strip() for key in plain) or not plain)
        key = wanted if known else plain[0].strip() if plain else UNKNOWN_KEY
        return {**values, "SWEEPHAND_URL": url, "SWEEPHAND_API_KEY": key}
