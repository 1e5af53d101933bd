"""The settings, read from the environment in one place; the README's table lists them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sweephand.domain.errors import ConfigError

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")
_DIGEST = re.compile(r"sha-?[0-9]+\s*[:=$]", re.IGNORECASE)
DEFAULT_BUDGET = 130.0
"""Seconds that a tick may work. It outlives the minute, so that a lingering tick can start a job that comes due.

That holds for the longest time limit of the built-in handlers too, 62 s.
"""
DEFAULT_LINGER = 70.0
"""Seconds from a tick's beginning that it waits for due jobs: until the next tick has begun, even a late one."""
HORIZON = 300.0
"""Seconds that the index reaches ahead: it holds no job that is due later."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""The names of this machine for itself."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, parsed. A missing setting is an empty string; `required` refuses it where it is needed."""

    supabase_url: str
    supabase_key: str
    store: str
    database_url: str
    redis_url: str
    api_key_hashes: tuple[bytes, ...]
    cors_origins: tuple[str, ...]
    """Origins whose pages may call the API from a browser; `sweephand.http.cors` allows them."""
    handler_modules: tuple[str, ...]
    mail_url: str
    mail_from: str
    storage_prefixes: tuple[str, ...]
    http_allow: tuple[str, ...]
    """Hosts and address ranges that calls may reach although they are not public."""
    http_ca_file: str
    webhook_signing_keys: tuple[str, ...] = field(repr=False)
    tick_budget: float
    linger: float
    retention: float
    """Seconds that finished jobs are kept; 0 keeps them for ever."""
    async_slots: int
    thread_slots: int
    process_slots: int
    drainers_url: str
    max_drainers: int
    wake_url: str


def read(env: Mapping[str, str]) -> Settings:
    """Return the settings in `env`. Raises `ConfigError`, which names the variable, for a wrong value."""
    return Settings(
        supabase_url=env.get("SUPABASE_URL", ""),
        supabase_key=env.get("SUPABASE_KEY", ""),
        store=_choice(env, "STORE", ("rest", "direct")),
        database_url=env.get("DATABASE_URL", ""),
        redis_url=env.get("REDIS_URL", ""),
        api_key_hashes=tuple(_key_hash(key) for key in _words(env, "SWEEPHAND_API_KEYS")),
        cors_origins=_origins(env),
        handler_modules=_words(env, "HANDLERS"),
        mail_url=env.get("MAIL_URL", ""),
        mail_from=env.get("MAIL_FROM", ""),
        storage_prefixes=_words(env, "STORAGE_PREFIXES"),
        http_allow=_words(env, "HTTP_ALLOW"),
        http_ca_file=env.get("HTTP_CA_FILE", ""),
        webhook_signing_keys=_words(env, "WEBHOOK_SIGNING_KEYS"),
        tick_budget=_number(env, "TICK_BUDGET_SECONDS", DEFAULT_BUDGET, 1, 3600),
        linger=_number(env, "LINGER_SECONDS", DEFAULT_LINGER, 0, 3600),
        retention=_number(env, "RETENTION_DAYS", 0, 0, 36_500) * 86400,
        async_slots=int(_number(env, "ASYNC_SLOTS", 100, 1, 10_000)),
        thread_slots=int(_number(env, "THREAD_SLOTS", 16, 1, 1_000)),
        process_slots=int(_number(env, "PROCESS_SLOTS", 2, 1, 64)),
        drainers_url=env.get("DRAINERS_URL", ""),
        max_drainers=int(_number(env, "MAX_DRAINERS", 0, 0, 1_000)),
        wake_url=env.get("WAKE_URL", ""),
    )


def _origins(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the origins of CORS_ORIGINS, or `*`. Raises `ConfigError` for a text that is no origin."""
    found = _words(env, "CORS_ORIGINS")
    for origin in found:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigError("CORS_ORIGINS holds origins such as https://example.com, without a path, or *.")
    return found


def without_proxies(env: Mapping[str, str]) -> dict[str, str]:
    """Return NO_PROXY of `env` with this machine added, in both spellings: no proxy leads to this machine."""
    names = [name.strip() for name in (env.get("no_proxy") or env.get("NO_PROXY") or "").split(",")]
    merged = ",".join(dict.fromkeys([*filter(None, names), *LOOPBACK]))
    return {"no_proxy": merged, "NO_PROXY": merged}


def required(value: str, name: str) -> str:
    """Return `value`, or raise `ConfigError` naming the variable that should have held it."""
    if not value:
        raise ConfigError(f"{name} is not set.")
    return value


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = env.get(name) or choices[0]
    if text not in choices:
        raise ConfigError(f"{name} must be {' or '.join(choices)}, not {text!r}.")
    return text


def _words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in env.get(name, "").split(",") if word.strip())


def _key_hash(key: str) -> bytes:
    """Return the SHA-256 of a key that is written plainly, or as `sha256:<hex>` to keep its plain text out."""
    found = re.fullmatch(r"sha256:([0-9a-fA-F]{64})", key, re.IGNORECASE)
    # A digest in another spelling is still a digest: it may be published, and must not become a key itself.
    if _DIGEST.match(key) and not found:
        raise ConfigError("SWEEPHAND_API_KEYS: sha256: is followed by 64 hexadecimal digits.")
    return bytes.fromhex(found[1]) if found else hashlib.sha256(key.encode()).digest()


def _number(env: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as e:
        raise ConfigError(f"{name} must be a number, not {text!r}.") from e
    if not low <= value <= high:
        raise ConfigError(f"{name} must be {low:g} to {high:g}, not {text}.")
    return value
