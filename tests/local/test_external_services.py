"""Which services `sweephand dev` uses, and what it tells of them."""

import pytest

from infra.local.external_services import ExternalServices
from infra.local.services.service import ServiceError
from sweephand.settings import without_proxies

LOCAL = {
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_KEY": "sb_secret_local",
    "DATABASE_URL": "postgresql://local",
    "REDIS_URL": "redis://:local@127.0.0.1:2/0",
    "MAIL_URL": "file:///outbox",
    "STORAGE_PREFIXES": "file:///objects/",
}
SUPABASE = {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_KEY": "sb_secret_real"}


def test_local_services_are_used_unless_others_are_named() -> None:
    """With nothing set all services are local, and the key is dev-key."""
    given = ExternalServices.of({"REDIS_URL": ""}, frozenset())
    assert not given.record
    assert not given.index
    values = given.over(LOCAL, "http://127.0.0.1:8080")
    assert values | LOCAL == values
    assert values["SWEEPHAND_API_KEY"] == "dev-key"


def test_each_real_service_replaces_its_local_one() -> None:
    """A real Redis leaves the record local, and a real Supabase the index."""
    redis = {"REDIS_URL": "rediss://real"}
    found = ExternalServices.of(redis, frozenset()).over(LOCAL, "u")
    assert found["REDIS_URL"] == "rediss://real"
    assert found["SUPABASE_URL"] == LOCAL["SUPABASE_URL"]
    given = ExternalServices.of(SUPABASE, frozenset())
    assert (given.record, given.index) == (True, False)
    assert given.over({"REDIS_URL": "redis://local"}, "u").items() >= SUPABASE.items()


@pytest.mark.parametrize("name", sorted(SUPABASE))
def test_supabases_address_and_key_go_together(name: str) -> None:
    """One without the other is refused: a real key must not meet a local address."""
    with pytest.raises(ServiceError, match="set both or neither"):
        ExternalServices.of({name: SUPABASE[name]}, frozenset())


def test_addresses_of_an_earlier_run_are_not_taken_for_real_services() -> None:
    """A shell that sourced DATA_DIR/env may start `make dev` again."""
    given = ExternalServices.of(LOCAL, {"sb_secret_local", "local"})
    assert (given.record, given.index) == (False, False)


def test_callers_keys_and_mail_win() -> None:
    """SWEEPHAND_API_KEYS replaces dev-key, and the first of them is the one told."""
    given = ExternalServices.of({"SWEEPHAND_API_KEYS": "a,b", "MAIL_URL": "smtp://host"}, frozenset())
    values = given.over(LOCAL, "u")
    assert (values["SWEEPHAND_API_KEY"], values["MAIL_URL"]) == ("a", "smtp://host")


@pytest.mark.parametrize(("keys", "told"), [("sha256:00, plain", "plain"), ("sha256:00", "YOUR-KEY")])
def test_hash_is_not_told_as_a_key(keys: str, told: str) -> None:
    """Of hashed keys nobody can be told what to send."""
    assert (
        ExternalServices.of({"SWEEPHAND_API_KEYS": keys}, frozenset()).over(LOCAL, "u")["SWEEPHAND_API_KEY"] == told
    )


@pytest.mark.parametrize(
    "named",
    [
        SUPABASE,
        {"REDIS_URL": "rediss://real"},
        {"MAIL_URL": "smtp://mail.example.com"},
        {"STORAGE_PREFIXES": "s3://bucket/in/"},
        {"STORAGE_PREFIXES": "file:///objects/, gs://bucket/out/"},
        {"WEBHOOK_SIGNING_KEYS": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"},
        {**SUPABASE, "SWEEPHAND_API_KEYS": "dev-key", "SWEEPHAND_API_KEY": "dev-key"},
        {**SUPABASE, "SWEEPHAND_API_KEYS": "a, dev-key"},
    ],
)
def test_known_key_opens_nothing_real(named: dict[str, str]) -> None:
    """With anything real behind the API its key is made by chance, and told: also where a shell has dev-key set."""
    first, second = (ExternalServices.of(named, frozenset()).over(LOCAL, "u") for _ in range(2))
    for values in (first, second):
        assert values["SWEEPHAND_API_KEYS"] == values["SWEEPHAND_API_KEY"]
        assert len(values["SWEEPHAND_API_KEY"]) >= 32
    assert first["SWEEPHAND_API_KEY"] != second["SWEEPHAND_API_KEY"]


def test_key_that_was_chosen_stays() -> None:
    """A key of one's own is kept with real services, and a stale SWEEPHAND_API_KEY is not told in its place."""
    own = {**SUPABASE, "SWEEPHAND_API_KEYS": "one-of-mine,other-of-mine"}
    for asked, told in (("", "one-of-mine"), ("other-of-mine", "other-of-mine"), ("dev-key", "one-of-mine")):
        values = ExternalServices.of({**own, "SWEEPHAND_API_KEY": asked}, frozenset()).over(LOCAL, "u")
        assert (values["SWEEPHAND_API_KEYS"], values["SWEEPHAND_API_KEY"]) == (own["SWEEPHAND_API_KEYS"], told)


@pytest.mark.parametrize(
    ("env", "merged"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "corp.example, localhost"}, "corp.example,localhost,127.0.0.1,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,localhost,127.0.0.1,::1"),
    ],
)
def test_no_proxy_leads_to_this_machine(env: dict[str, str], merged: str) -> None:
    """What the shell excludes stays excluded, and this machine with it."""
    assert without_proxies(env) == {"no_proxy": merged, "NO_PROXY": merged}
