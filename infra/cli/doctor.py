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

from sweephand import app
from sweephand.domain.errors import ConfigError, RecordSetupError, RecordUnavailableError, SweephandError

SKEW = 2.0
"""Seconds that a clock may differ before we say so. A difference makes jobs late, never wrong."""
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
"""Parameters with which each function changes nothing. The call shows that the function exists and is allowed."""
MIN_KEY = 16
"""Characters that an API key needs: a shorter key can be guessed."""
LOCAL_KEY = "dev-key"
"""The key of `sweephand dev`. A real deployment must not have it."""
SILENCE = 2 * app.SCHEDULE
"""Seconds without a tick after which we say so."""
LATE = app.SCHEDULE
"""Seconds that a job may be due before we say so: the schedule has started a tick since."""
LOOPBACK = ("127.0.0.1", "localhost", "::1", None)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `ok` when nothing is wrong."""

    about: str
    ok: bool
    text: str


def doctor(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False
) -> None:
    """Check the settings against the real services. Exits with status 1 when something is wrong."""
    failed = False
    for finding in examine():
        failed |= not finding.ok
        if as_json:
            typer.echo(json.dumps(asdict(finding)))
        else:
            shade = typer.colors.GREEN if finding.ok else typer.colors.RED
            typer.secho(f"{'✓' if finding.ok else '✗'} {finding.about}: {finding.text}", fg=colour(shade))
    raise typer.Exit(int(failed))


def examine() -> Iterator[Finding]:
    """Check each setting and service in turn, without the checks that depend on a broken one."""
    yield from _check("settings", lambda: app.settings() and "they can be read")
    try:
        app.settings()
    except ConfigError:
        return
    yield from _api_keys()
    yield from _check("handlers", _handlers)
    yield from _check("mail", lambda: app.mailer() and _set("MAIL_URL", app.settings().mail_url))
    yield from _check(
        "objects",
        lambda: app.objects() and _set("STORAGE_PREFIXES", *app.settings().storage_prefixes),
    )
    yield from _check("calls of URLs", _calls_of_urls)
    yield from _record()
    yield from _index()
    yield from _calls()


def _check(about: str, look: Callable[[], object]) -> Iterator[Finding]:
    """Yield the text that `look` returns, or the error that it raises."""
    try:
        yield Finding(about, ok=True, text=str(look()))
    except (SweephandError, ValueError) as e:
        yield Finding(about, ok=False, text=str(e))


def _set(name: str, *values: str) -> str:
    return "can be used" if any(values) else f"not set up ({name}): jobs that need it will fail and say so"


def _api_keys() -> Iterator[Finding]:
    count = len(app.settings().api_key_hashes)
    text = f"{count} may call" if count else "SWEEPHAND_API_KEYS is not set: every call of the API is refused"
    if weak := sum(map(_weak, os.environ.get("SWEEPHAND_API_KEYS", "").split(","))):
        text = f"{text}; {weak} of them can be guessed: make each with `openssl rand -hex 32`"
    yield Finding("API keys", ok=count > 0 and not weak, text=text)


def _weak(key: str) -> bool:
    """Tell whether a plain key can be guessed: it is too short, or has too few different characters."""
    key = key.strip()
    if not key or key.lower().startswith("sha256:"):
        return False
    if key == LOCAL_KEY:
        return urlsplit(app.settings().supabase_url).hostname not in LOOPBACK
    return len(key) < MIN_KEY or len(set(key)) < MIN_KEY // 2


def _handlers() -> str:
    app.tick(0)
    return ", ".join(sorted(app.handlers()))


def _calls_of_urls() -> str:
    app.http().tls()
    settings = app.settings()
    allowed = f"; HTTP_ALLOW opens {', '.join(settings.http_allow)}" if settings.http_allow else ""
    signed = "signed" if settings.webhook_signing_keys else "not signed (WEBHOOK_SIGNING_KEYS)"
    return f"public hosts alone{allowed}; {signed}"


def _record() -> Iterator[Finding]:
    url = app.settings().supabase_url
    try:
        answer = app.record().health()
    except RecordSetupError as e:
        yield Finding("record", ok=False, text=_setup_fault(e))
        return
    except (RecordUnavailableError, ConfigError) as e:
        yield Finding("record", ok=False, text=str(e))
        return
    yield Finding("record", ok=True, text=f"answers; installation {answer['installation']}")
    if app.settings().store == "rest" and _in_clear(url, "https"):
        yield Finding("record", ok=False, text="SUPABASE_URL has no TLS: the key is sent in clear; use https://")
    yield from _ticks()
    yield from _oldest()
    yield from _functions()
    yield from _clock("record", datetime.fromisoformat(str(answer["now"])).timestamp())


def _setup_fault(error: RecordSetupError) -> str:
    """Return the cause: a key without the right to call, or functions that do not exist."""
    key = app.settings().supabase_key
    text = str(error)
    if app.settings().store == "direct":
        return text  # it names DATABASE_URL or the migrations
    if "42501" in text:
        kind = "a publishable key" if key.startswith("sb_publishable_") else "an anon or user key"
        return f"SUPABASE_KEY is {kind}, which has no rights here: use the secret key (sb_secret_…)"
    if "PGRST202" in text or "42883" in text:
        return "the migrations are missing: run `sweephand migrate --database-url …`"
    return f"SUPABASE_KEY is refused: {text}"


def _ticks() -> Iterator[Finding]:
    """Report when a tick last looked for work. It comes first: `_oldest` leaves the same trace as a tick."""
    try:
        listed = app.record().list(None, None, 1, None).jobs
        found: Any = app.record().explain(UUID(str(listed[0]["id"]))) if listed else None
    except SweephandError:
        return  # `_functions` reports the cause, for each function
    if found is None:
        yield Finding("ticks", ok=True, text="there is no job yet, so the last tick is unknown")
        return
    ago = None if found["tick_ms"] is None else -found["tick_ms"] / 1000
    missed = ago is None or ago > SILENCE
    last = "none has been seen yet" if ago is None else f"the last one was {ago:.0f} s ago"
    yield Finding("ticks", ok=not missed, text=f"{last}{': check that the schedule calls it' if missed else ''}")


def _oldest() -> Iterator[Finding]:
    """Report how long the oldest due job has waited. The call counts as a tick's, so it names the real types."""
    try:
        ages = app.record().restore(sorted(app.handlers()), 0, 1).oldest
    except SweephandError:
        return
    oldest = max(ages.values(), default=0)
    text = f"the oldest has been due for {oldest:.0f} s" if ages else "no job is due"
    yield Finding("due jobs", ok=oldest <= LATE, text=text)


def _functions() -> Iterator[Finding]:
    missing = []
    for name, params in HARMLESS.items():
        try:
            app.rpc()(name, dict(params))
        except RecordSetupError:
            missing.append(name)
        except SweephandError as e:
            yield Finding("migrations", ok=False, text=str(e))
            return
    text = f"behind: {', '.join(missing)} cannot be called; run `sweephand migrate`" if missing else "up to date"
    yield Finding("migrations", ok=not missing, text=text)


def _index() -> Iterator[Finding]:
    url = app.settings().redis_url
    if not url:
        yield Finding(
            "index", ok=True, text="REDIS_URL is not set: the record is drained directly, which is slower"
        )
        return
    # A quarter of a second that no other command needs.
    from redis.exceptions import AuthenticationError, RedisError  # noqa: PLC0415

    from sweephand.adapters.redis import RedisServer  # noqa: PLC0415

    try:
        client: Any = RedisServer(url).client()
        info = client.info()
        now = client.time()
        client.close()
    except AuthenticationError:
        yield Finding("index", ok=False, text="Redis refuses the password in REDIS_URL")
        return
    except (RedisError, OSError, ValueError) as e:
        yield Finding("index", ok=False, text=f"Redis does not answer: {type(e).__name__}")
        return
    yield Finding("index", ok=True, text=f"answers; Redis {info.get('redis_version', 'of unknown version')}")
    if _in_clear(url, "rediss", "unix"):
        yield Finding("index", ok=False, text="REDIS_URL has no TLS: the password is sent in clear; use rediss://")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and int(info.get("maxmemory", 0)) > 0:
        text = (
            f"maxmemory-policy is {policy}: keys may be dropped. Nothing is lost, but jobs run late; use noeviction"
        )
        yield Finding("index", ok=False, text=text)
    yield from _clock("index", now[0] + now[1] / 1e6)


def _calls() -> Iterator[Finding]:
    """Check how ticks are started beside the schedule, where that is set."""
    settings = app.settings()
    if settings.wake_url:
        yield from _check("trigger", lambda: app.tick_trigger() and _set("WAKE_URL", settings.wake_url))
    if settings.max_drainers and not settings.drainers_url:
        text = "MAX_DRAINERS is set and DRAINERS_URL is not: a tick starts no others"
        yield Finding("drainers", ok=False, text=text)
    elif settings.drainers_url:
        yield from _check("drainers", lambda: app.drainers() and _set("DRAINERS_URL", settings.drainers_url))


def _in_clear(url: str, *safe: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in safe and parts.hostname not in LOOPBACK


def _clock(about: str, there: float) -> Iterator[Finding]:
    skew = there - datetime.now(UTC).timestamp()
    if abs(skew) > SKEW:
        text = f"its clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        yield Finding(f"{about}'s clock", ok=False, text=f"{text}: jobs may run late")


def colour(name: str) -> str | None:
    """Return the colour to print in, None where NO_COLOR forbids colours (no-color.org)."""
    return None if os.environ.get("NO_COLOR") else name
