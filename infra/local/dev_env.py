"""Which services `sweephand dev` uses, and what its functions, the CLI and a person are told of them."""

import secrets
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .services.service import ServiceError

KEY = "dev-key"
"""The API's key while everything is local: with anything real behind it, a known one would be a hole."""
RECORD = ["SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL"]
"""What names a Supabase project; DATABASE_URL only serves the person and the CLI."""
PASSED = (
    *("HANDLERS", "STORE", "TICK_BUDGET_SECONDS", "LINGER_SECONDS", "HORIZON_SECONDS", "RETENTION_DAYS"),
    *("ASYNC_SLOTS", "THREAD_SLOTS", "PROCESS_SLOTS", "DRAINERS_URL", "MAX_DRAINERS"),
    *("MAIL_URL", "MAIL_FROM", "STORAGE_PREFIXES", "SWEEPHAND_API_KEYS"),
    *("HTTP_ALLOW", "HTTP_CA_FILE", "WEBHOOK_SIGNING_KEYS"),
)
"""Settings of the caller's that hold here too, and that a tick by hand (`sweephand --env`) has to share."""
NAMES = frozenset({*PASSED, *RECORD, "REDIS_URL", "WAKE_URL", "SWEEPHAND_API_KEY", "SWEEPHAND_URL"})
"""Every setting that functions, the emulation and the command line know by these names."""
UNKNOWN_KEY = "YOUR-KEY"
"""What is shown where SWEEPHAND_API_KEYS has hashes only."""
SENDER = "sweephand@example.com"


@dataclass(frozen=True, slots=True)
class ExternalServices:
    """The caller's environment: which real services it names."""

    env: Mapping[str, str]

    @classmethod
    def of(cls, env: Mapping[str, str], ours: AbstractSet[str]) -> "ExternalServices":
        """Read `env`, leaving out services whose key is among `ours`: a shell sourced an earlier run's `env`.

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
        """Whether anything is named that is not this machine's own: a service, a mail server, a bucket, a key."""
        places = [self.env.get("MAIL_URL", ""), *self.env.get("STORAGE_PREFIXES", "").split(",")]
        signs = bool(self.env.get("WEBHOOK_SIGNING_KEYS"))
        return (
            self.record
            or self.index
            or signs
            or any(place and not place.strip().startswith("file:") for place in places)
        )

    def over(self, local: Mapping[str, str], url: str) -> dict[str, str]:
        """Return the functions' settings: the caller's, else the `local` services'; and ours, at `url`."""
        names = [*PASSED]
        names += RECORD if self.record else []
        names += ["REDIS_URL"] if self.index else []
        given = {name: self.env[name] for name in names if name in self.env}
        if self.real and KEY in (key.strip() for key in given.get("SWEEPHAND_API_KEYS", KEY).split(",")):
            given["SWEEPHAND_API_KEYS"] = secrets.token_urlsafe(24)
        values = {"MAIL_FROM": SENDER, "SWEEPHAND_API_KEYS": KEY, **local, **given}
        plain = [key for key in values["SWEEPHAND_API_KEYS"].split(",") if not key.strip().startswith("sha256:")]
        asked = self.env.get("SWEEPHAND_API_KEY", "")
        known = asked and (asked in (key.strip() for key in plain) or not plain)
        key = asked if known else plain[0].strip() if plain else UNKNOWN_KEY
        return {**values, "SWEEPHAND_URL": url, "SWEEPHAND_API_KEY": key}


def greeting(values: Mapping[str, str], data_dir: Path, seconds: float, *, proxied: bool = False) -> str:
    """Return what a newcomer needs: the address, the key, a job to paste, and where things lie.

    `proxied`: whether the shell that it is pasted into names a proxy, which does not lead to this machine.
    """
    direct = " --noproxy '*'" if proxied else ""
    url, key = values["SWEEPHAND_URL"], values["SWEEPHAND_API_KEY"]
    job = (
        '{"type": "email_notification", "payload": {"to": "test@example.com", '
        '"subject": "Hello!", "message": "This is a test job."}}'
    )
    return f"""
Sweephand listens on {url}; it ticks every {seconds:g} s.

  API key   {key}
  mail      {values["MAIL_URL"]}
  objects   {values["STORAGE_PREFIXES"]}
  settings  {data_dir}/env
  logs      {data_dir}/logs

Post a job:

  curl{direct} {url}/jobs \\
    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{job}'

Ctrl-C stops everything; the data stays.
"""
