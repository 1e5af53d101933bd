"""`sweephand doctor`: connects to each configured service and says in plain words what is wrong."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import typer
from redis.exceptions import AuthenticationError, RedisError

from sweephand import app
from sweephand.adapters.redis import RedisServer
from sweephand.domain.errors import ConfigError, RecordSetupError, RecordUnavailableError, SweephandError

from .api import colour

SKEW = 2.0
"""Seconds that two clocks may differ before it is worth a word: skew costs lateness, never correctness."""
NOBODY = "00000000-0000-0000-0000-000000000000"
HARMLESS: Mapping[str, Mapping[str, Any]] = {
    "sweephand_create_v1": {"jobs": []},
    "sweephand_get_v1": {"id": NOBODY},
    "sweephand_list_v1": {"max_rows": 0},
    "sweephand_cancel_v1": {"id": NOBODY},
    "sweephand_restore_v1": {"types": [], "horizon_ms": 0, "max_rows": 0},
    "sweephand_start_v1": {"ids": [], "token": NOBODY, "lease_ms": {}},
    "sweephand_settle_v1": {"outcomes": []},
    "sweephand_find_unknown_types_v1": {"types": []},
    "sweephand_set_aside_v1": {"bad": []},
    "sweephand_explain_v1": {"id": NOBODY},
    "sweephand_prune_v1": {"keep_s": 10**10, "max_rows": 0},
}
"""A call of each function that changes nothing: it shows that the function is there and may be called."""
MIN_KEY = 16
"""Characters of an API key below which it can be guessed."""
LOCAL_KEY = "dev-key"
"""The key of `sweephand dev`, which nothing real is to have."""
SILENCE = 120.0
"""Seconds after which a tick is missed: the schedule's comes each minute."""
LATE = 60.0
"""Seconds after which a job that is due was left lying: a scheduled tick comes each minute."""
LOOPBACK = ("127.0.0.1", "localhost", "::1", None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `ok` when nothing is wrong with it."""

    about: str
    ok: bool
    said: str


def doctor(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False
) -> None:
    """Check the configuration against the real services; exit with status 1 when something is wrong."""
    sick = False
    for finding in examine():
        sick |= not finding.ok
        if as_json:
            typer.echo(json.dumps(asdict(finding)))
        else:
            shade = typer.colors.GREEN if finding.ok else typer.colors.RED
            typer.secho(f"{'✓' if finding.ok else '✗'} {finding.about}: {finding.said}", fg=colour(shade))
    raise typer.Exit(int(sick))


def examine() -> Iterator[Finding]:
    """Look at each setting and service in turn; what depends on a broken one is left out."""
    yield from _looked_at("settings", lambda: app.settings() and "they can be read")
    try:
        app.settings()
    except ConfigError:
        return
    yield from _api_keys()
    yield from _looked_at("handlers", _handlers)
    yield from _looked_at("mail", lambda: app.mailer() and _set("MAIL_URL", app.settings().mail_url))
    yield from _looked_at(
        "objects",
        lambda: app.objects() and _set("STORAGE_PREFIXES", *app.settings().storage_prefixes),
    )
    yield from _record()
    yield from _index()
    yield from _calls()


def _looked_at(about: str, look: Callable[[], object]) -> Iterator[Finding]:
    """Yield what `look` says, or the error that it raises."""
    try:
        yield Finding(about, ok=True, said=str(look()))
    except (SweephandError, ValueError) as e:
        yield Finding(about, ok=False, said=str(e))


def _set(name: str, *values: str) -> str:
    return "can be used" if any(values) else f"not set up ({name}): jobs that need it will fail and say so"


def _api_keys() -> Iterator[Finding]:
    count = len(app.settings().api_key_hashes)
    said = f"{count} may call" if count else "SWEEPHAND_API_KEYS is not set: every call of the API is refused"
    if weak := sum(map(_weak, os.environ.get("SWEEPHAND_API_KEYS", "").split(","))):
        said = f"{said}; {weak} of them can be guessed: make each with `openssl rand -hex 32`"
    yield Finding("API keys", ok=count > 0 and not weak, said=said)


def _weak(key: str) -> bool:
    """Tell whether a key that is written plainly can be guessed: too short, or of too few characters."""
    key = key.strip()
    if not key or key.lower().startswith("sha256:"):
        return False
    if key == LOCAL_KEY:
        return urlsplit(app.settings().supabase_url).hostname not in LOOPBACK
    return len(key) < MIN_KEY or len(set(key)) < MIN_KEY // 2


def _handlers() -> str:
    app.tick(0)
    return ", ".join(sorted(app.handlers()))


def _record() -> Iterator[Finding]:
    url = app.settings().supabase_url
    try:
        answer = app.record().health()
    except RecordSetupError as e:
        yield Finding("record", ok=False, said=_setup_fault(e))
        return
    except (RecordUnavailableError, ConfigError) as e:
        yield Finding("record", ok=False, said=str(e))
        return
    yield Finding("record", ok=True, said=f"answers; installation {answer['installation']}")
    if app.settings().store == "rest" and _in_clear(url, "https"):
        yield Finding("record", ok=False, said="SUPABASE_URL has no TLS: the key is sent in clear; use https://")
    yield from _ticks()
    yield from _oldest()
    yield from _functions()
    yield from _clock("record", datetime.fromisoformat(str(answer["now"])).timestamp())


def _setup_fault(error: RecordSetupError) -> str:
    """Tell a key that may not call from functions that are not there."""
    key = app.settings().supabase_key
    said = str(error)
    if app.settings().store == "direct":
        return said  # it names DATABASE_URL or the migrations by itself
    if "42501" in said:
        kind = "a publishable key" if key.startswith("sb_publishable_") else "an anon or user key"
        return f"SUPABASE_KEY is {kind}, which may do nothing here: use the secret key (sb_secret_…)"
    if "PGRST202" in said or "42883" in said:
        return "the migrations are missing: run `sweephand migrate --database-url …`"
    return f"SUPABASE_KEY is refused: {said}"


def _ticks() -> Iterator[Finding]:
    """Tell when a tick last looked for work. Asked first: calling the page, as below, looks like a tick."""
    try:
        listed = app.record().list(None, None, 1, None).jobs
        found: Any = app.record().explain(UUID(str(listed[0]["id"]))) if listed else None
    except SweephandError:
        return  # what is wrong is told below, function by function
    if found is None:
        yield Finding("ticks", ok=True, said="no job yet that could tell when the last one was")
        return
    ago = None if found["tick_ms"] is None else -found["tick_ms"] / 1000
    missed = ago is None or ago > SILENCE
    last = "none has been seen yet" if ago is None else f"the last one was {ago:.0f} s ago"
    yield Finding("ticks", ok=not missed, said=f"{last}{': check that the schedule calls it' if missed else ''}")


def _oldest() -> Iterator[Finding]:
    """Tell how long the oldest due job has been waiting. This counts as a tick: so it names the real types."""
    try:
        ages = app.record().restore(sorted(app.handlers()), 0, 1).oldest
    except SweephandError:
        return
    oldest = max(ages.values(), default=0)
    said = f"the oldest is due since {oldest:.0f} s" if ages else "no job is due"
    yield Finding("due jobs", ok=oldest <= LATE, said=said)


def _functions() -> Iterator[Finding]:
    missing = []
    for name, params in HARMLESS.items():
        try:
            app.rpc()(name, dict(params))
        except RecordSetupError:
            missing.append(name)
        except SweephandError as e:
            yield Finding("migrations", ok=False, said=str(e))
            return
    said = f"behind: {', '.join(missing)} cannot be called; run `sweephand migrate`" if missing else "up to date"
    yield Finding("migrations", ok=not missing, said=said)


def _index() -> Iterator[Finding]:
    url = app.settings().redis_url
    if not url:
        yield Finding(
            "index", ok=True, said="REDIS_URL is not set: the record is drained directly, which is slower"
        )
        return
    try:
        client: Any = RedisServer(url).client()
        info = client.info()
        now = client.time()
        client.close()
    except AuthenticationError:
        yield Finding("index", ok=False, said="Redis refuses the password in REDIS_URL")
        return
    except (RedisError, OSError, ValueError) as e:
        yield Finding("index", ok=False, said=f"Redis does not answer: {type(e).__name__}")
        return
    yield Finding("index", ok=True, said=f"answers; Redis {info.get('redis_version', 'of unknown version')}")
    if _in_clear(url, "rediss", "unix"):
        yield Finding("index", ok=False, said="REDIS_URL has no TLS: the password is sent in clear; use rediss://")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and int(info.get("maxmemory", 0)) > 0:
        said = (
            f"maxmemory-policy is {policy}: keys may be dropped. Nothing is lost, but jobs run late; use noeviction"
        )
        yield Finding("index", ok=False, said=said)
    yield from _clock("index", now[0] + now[1] / 1e6)


def _calls() -> Iterator[Finding]:
    """Look at how ticks are called beside the schedule, where that is set."""
    settings = app.settings()
    if settings.wake_url:
        yield from _looked_at("waking", lambda: app.tick_trigger() and _set("WAKE_URL", settings.wake_url))
    if settings.max_drainers and not settings.drainers_url:
        said = "MAX_DRAINERS is set and DRAINERS_URL is not: a tick calls no others"
        yield Finding("drainers", ok=False, said=said)
    elif settings.drainers_url:
        yield from _looked_at("drainers", lambda: app.drainers() and _set("DRAINERS_URL", settings.drainers_url))


def _in_clear(url: str, *safe: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in safe and parts.hostname not in LOOPBACK


def _clock(about: str, there: float) -> Iterator[Finding]:
    skew = there - datetime.now(UTC).timestamp()
    if abs(skew) > SKEW:
        said = f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        yield Finding(f"{about}'s clock", ok=False, said=f"{said}: jobs may run late")
