"""What the index does, on every kind of server."""

import random
import uuid
from typing import cast

import pytest
import redis

from sweephand.domain.attempt import Claim
from sweephand.ports.index import (
    ActiveTick,
    Claimed,
    ClaimOptions,
    ClaimQuota,
    Index,
    IndexUpdates,
    Lane,
    TriggerRequest,
)
from sweephand.ports.record import Due

HERE = "test"
HOLD = 10_000


def due(n: int, type_: str = "noop", priority: int = 0, wait_ms: int = 0) -> Due:
    """Return an entry whose id ends in n."""
    return Due(str(uuid.UUID(int=n)), type_, priority, wait_ms)


def of(*types: str, room: int) -> ClaimQuota:
    """Return a quota of these types, at every priority."""
    return ClaimQuota([Lane(type_, priority) for type_ in types for priority in range(10)], room)


def add(index: Index, *entries: Due) -> int:
    """Index entries; return how many were new."""
    return index.sync_and_claim(HERE, IndexUpdates(add=list(entries))).added


def claim(index: Index, room: int = 100, *types: str, hold: int = HOLD) -> list[Claim]:
    """Claim from one pool's lanes."""
    return list(
        index.sync_and_claim(
            HERE, IndexUpdates(), [of(*(types or ("noop",)), room=room)], ClaimOptions(hold)
        ).claims
    )


def ns(claimed: list[Claim]) -> list[int]:
    """Return the numbers that ids were made of."""
    return [uuid.UUID(c.id).int for c in claimed]


def test_what_is_due_is_claimed_once(index: Index) -> None:
    """A due member is claimed, and is held from the next claim."""
    assert add(index, due(1)) == 1
    assert ns(claim(index)) == [1]
    assert claim(index) == []


def test_what_is_not_due_is_not_claimed(index: Index) -> None:
    """A member whose time has not come stays."""
    add(index, due(1, wait_ms=60_000))
    assert claim(index) == []


def test_a_hold_ends(index: Index) -> None:
    """A claim that nobody follows up is claimed again after its hold."""
    add(index, due(1))
    assert ns(claim(index, hold=1)) == [1]
    while not (again := claim(index)):
        pass
    assert ns(again) == [1]


def test_adding_never_moves_what_is_there(index: Index) -> None:
    """Adding a held member does not pull it in."""
    add(index, due(1))
    claim(index)
    assert add(index, due(1)) == 0
    assert claim(index) == []


def test_the_highest_priority_goes_first_then_the_oldest(index: Index) -> None:
    """Claims come from the highest priority down, across types, oldest first within one."""
    add(index, due(1, priority=0))
    add(index, due(2, "other", priority=9))
    add(index, due(3, priority=9))
    add(index, due(4, priority=5))
    claimed = claim(index, 100, "noop", "other")
    assert [c.priority for c in claimed] == [9, 9, 5, 0]
    assert ns(claimed)[2:] == [4, 1]


def test_pools_have_room_of_their_own(index: Index) -> None:
    """Each pool is claimed for as far as it has room, whatever the other has."""
    add(index, *(due(n) for n in range(1, 6)), *(due(n, "slow") for n in range(11, 16)))
    step = index.sync_and_claim(HERE, IndexUpdates(), [of("noop", room=3), of("slow", room=1)], ClaimOptions(HOLD))
    assert sorted(c.type for c in step.claims) == ["noop"] * 3 + ["slow"]


def test_a_pool_without_room_and_an_unnamed_lane_are_left_alone(index: Index) -> None:
    """No room, no claim; lanes that nobody names stay."""
    add(index, due(1), due(2, "foreign"))
    assert index.sync_and_claim(HERE, IndexUpdates(), [of("noop", room=0)], ClaimOptions(HOLD)).claims == []
    assert claim(index, 100, "foreign") != []


def test_what_was_started_is_forgotten(index: Index) -> None:
    """A removed member is gone, and may be added anew."""
    add(index, due(1))
    index.sync_and_claim(HERE, IndexUpdates(remove=claim(index)))
    assert claim(index) == []
    assert add(index, due(1)) == 1
    assert ns(claim(index)) == [1]


def test_postponing_moves_the_callers_own_claim(index: Index) -> None:
    """A claim that is to wait is due after its wait, by the server's clock."""
    add(index, due(1), due(2))
    first, second = claim(index)
    index.sync_and_claim(HERE, IndexUpdates(postpone=[(first, 0), (second, 60_000)]))
    assert ns(claim(index)) == [uuid.UUID(first.id).int]


def test_a_released_job_keeps_its_place(index: Index) -> None:
    """Released claims are due again in their old order."""
    for n in (3, 1, 2):
        add(index, due(n))
        claim(index, 0)
    before = claim(index)
    index.sync_and_claim(HERE, IndexUpdates(release=list(reversed(before))))
    assert [(c.id, c.score) for c in claim(index)] == [(c.id, c.score) for c in before]


def test_a_stale_claim_moves_nothing(index: Index) -> None:
    """Once another tick has claimed a job, the first claim can neither postpone nor release it."""
    add(index, due(1))
    [stale] = claim(index, hold=1)
    while not claim(index):
        pass
    index.sync_and_claim(HERE, IndexUpdates(postpone=[(stale, 0)]))
    index.sync_and_claim(HERE, IndexUpdates(release=[stale]))
    assert claim(index) == []


def test_updates_come_before_claims_in_one_call(index: Index) -> None:
    """A call can claim what it adds, not what it removes; it can remove a job and add it again."""
    add(index, due(1))
    old = claim(index)
    step = index.sync_and_claim(
        HERE, IndexUpdates(remove=old, add=[due(1), due(2)]), [of("noop", room=10)], ClaimOptions(HOLD)
    )
    assert sorted(ns(list(step.claims))) == [1, 2]
    assert step.added == 2


def test_thousands_are_updated_in_one_call(index: Index) -> None:
    """A call takes more jobs than Lua unpacks at once."""
    assert add(index, *(due(n) for n in range(10_000))) == 10_000
    claimed = claim(index, 10_000)
    assert len(claimed) == 10_000
    index.sync_and_claim(HERE, IndexUpdates(remove=claimed))
    assert claim(index) == []


def test_installations_do_not_see_each_other(index: Index) -> None:
    """Two installations on one server have indexes of their own."""
    index.sync_and_claim("staging", IndexUpdates(add=[due(1)]))
    assert claim(index) == []
    assert (
        len(index.sync_and_claim("staging", IndexUpdates(), [of("noop", room=9)], ClaimOptions(HOLD)).claims) == 1
    )


def test_a_look_up_says_when_a_job_is_due(index: Index) -> None:
    """It tells due, waiting, held and missing jobs apart, and changes nothing."""
    add(index, due(1), due(2, wait_ms=60_000))
    assert (index.look_up(HERE, due(1)) or 0) <= 0
    assert 50_000 < (index.look_up(HERE, due(2)) or 0) <= 60_000
    assert index.look_up(HERE, due(3)) is None
    assert ns(claim(index)) == [1]
    assert 0 < (index.look_up(HERE, due(1)) or 0) <= HOLD


def test_missing_counts_and_changes_nothing(index: Index) -> None:
    """What is not in the index is counted, and still is not."""
    add(index, due(1))
    assert index.missing(HERE, [due(1), due(2), due(3)]) == 2
    assert ns(claim(index)) == [1]


def test_what_is_pending_again_is_pulled_in(index: Index) -> None:
    """A job that another tick saw leased, and put off until then, is due again when it is settled; never later."""
    add(index, due(1))
    index.sync_and_claim(HERE, IndexUpdates(postpone=[(claimed, 60_000) for claimed in claim(index)]))
    assert claim(index) == []
    index.sync_and_claim(HERE, IndexUpdates(requeue=[due(1), due(2)]))
    assert sorted(ns(claim(index, hold=60_000))) == [1, 2]
    index.sync_and_claim(HERE, IndexUpdates(requeue=[due(1, wait_ms=90_000)]))
    assert claim(index) == []


def test_a_call_is_one_command(index: Index, url: str) -> None:
    """Once the server knows the script, updating and claiming sends one EVALSHA and nothing else."""
    add(index, due(1))
    with redis.Redis.from_url(url.removesuffix("?cluster=true")) as client:
        client.config_resetstat()
        for _ in range(3):
            claim(index)
        told = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    sent = {
        name: stats["calls"] for name, stats in told.items() if name.startswith(("cmdstat_eval", "cmdstat_script"))
    }
    assert sent == {"cmdstat_evalsha": 3}


# ---------------------------------------------------------------- lanes


def test_lanes_of_one_priority_get_the_same_share(index: Index) -> None:
    """A lane with few due jobs gets them all; the long ones share the rest, however late one came."""
    add(index, *(due(n) for n in range(1000)))
    add(index, *(due(n, "other") for n in range(2000, 3000)))
    add(index, *(due(n, "few") for n in range(4000, 4005)))
    claimed = claim(index, 300, "noop", "other", "few")
    counts = {type_: sum(c.type == type_ for c in claimed) for type_ in ("noop", "other", "few")}
    assert counts["few"] == 5
    assert counts["noop"] + counts["other"] == 295
    assert min(counts["noop"], counts["other"]) >= 100


def test_a_served_lane_goes_to_the_back(index: Index) -> None:
    """Where there is less room than lanes, each gets its turn before any gets a second."""
    types = [f"t{n}" for n in range(40)]
    for n, type_ in enumerate(types):
        add(index, *(due(n * 100 + i, type_, wait_ms=-1000) for i in range(40)))
    seen: list[str] = []
    while len(seen) < 40:
        claimed = claim(index, 64, *types[:6]) if not seen else claim(index, 64, *_oldest(index, types))
        seen += dict.fromkeys(c.type for c in claimed)
    assert len(set(seen[:40])) == 40


def _oldest(index: Index, types: list[str]) -> list[str]:
    """Return the types that have waited longest for a turn, as the index tells them."""
    told = index.sync_and_claim(HERE, IndexUpdates(), [ClaimQuota([], 1)], ClaimOptions(HOLD)).due_lanes
    return [lane.type for lane in told if lane.type in types][:6]


def test_lanes_that_were_not_named_are_told(index: Index) -> None:
    """A call tells which lanes are due, whoever may run them, and which come due next."""
    add(index, due(1, "unnamed", 3), due(2, "later", wait_ms=60_000))
    step = index.sync_and_claim(HERE, IndexUpdates(), [of("noop", room=5)], ClaimOptions(HOLD))
    assert step.due_lanes == [Lane("unnamed", 3)]
    [(lane, ms)] = step.coming
    assert lane == Lane("later", 0)
    assert 50_000 < ms <= 60_000


def test_only_named_lanes_say_when_the_next_is_due(index: Index) -> None:
    """`next_ms` is of the lanes that the caller may claim from."""
    add(index, due(1, "foreign", wait_ms=1000), due(2, wait_ms=60_000))
    step = index.sync_and_claim(HERE, IndexUpdates(), [of("noop", room=5)], ClaimOptions(HOLD))
    assert 50_000 < (step.next_ms or 0) <= 60_000


def test_what_is_late_keeps_its_order(index: Index) -> None:
    """What is added with a negative wait stands where it was due, before what came due later."""
    add(index, due(1, wait_ms=-1000))
    add(index, due(2, wait_ms=-60_000))
    add(index, due(3))
    assert ns(claim(index)) == [2, 1, 3]


def test_a_bound_lets_earlier_ones_come_first(index: Index) -> None:
    """Of a lane with a bound nothing is claimed that is due later; the lane is still told as due."""
    add(index, due(1, wait_ms=-60_000), due(2, wait_ms=-1000))
    options = ClaimOptions(HOLD, upto_ms={Lane("noop", 0): -30_000})
    first = index.sync_and_claim(HERE, IndexUpdates(), [of("noop", room=5)], options)
    assert ns(list(first.claims)) == [1]
    assert first.due_lanes == [Lane("noop", 0)]
    assert index.sync_and_claim(HERE, IndexUpdates(), [of("noop", room=5)], options).claims == []
    assert ns(claim(index)) == [2]


def test_a_call_says_which_lanes_grew(index: Index) -> None:
    """Adding tells the lanes that lacked something."""
    add(index, due(1), due(2, "other"))
    assert index.sync_and_claim(HERE, IndexUpdates(add=[due(1), due(3, "other")])).grown == {Lane("other", 0)}


def test_a_lost_place_is_pulled_in(index: Index) -> None:
    """What is due and stands further away than any claim holds is due again; a hold is left alone."""
    add(index, due(1, wait_ms=3_600_000), due(2))
    claim(index)
    step = index.sync_and_claim(
        HERE, IndexUpdates(add=[due(1), due(2)]), [of("noop", room=5)], ClaimOptions(HOLD, far_ms=HOLD + 5000)
    )
    assert ns(list(step.claims)) == [1]


def test_an_evicted_lane_is_found_again(one_index: Index, redis_client: "redis.Redis") -> None:
    """Where the key of a priority's lanes is gone, naming the lane or adding to it mends that."""
    add(one_index, due(1), due(2))
    [lanes] = redis_client.keys("*:lanes:0")
    redis_client.delete(lanes)
    assert one_index.sync_and_claim(HERE, IndexUpdates(), [ClaimQuota([], 1)], ClaimOptions(HOLD)).due_lanes == []
    assert ns(claim(one_index, 1)) == [1]
    redis_client.delete(lanes)
    add(one_index, due(2))
    assert one_index.sync_and_claim(HERE, IndexUpdates(), [ClaimQuota([], 1)], ClaimOptions(HOLD)).due_lanes == [
        Lane("noop", 0)
    ]


def test_a_hundred_calls_keep_the_lanes_right(one_index: Index, redis_client: "redis.Redis") -> None:
    """After any updates, a lane's place is the score of its first member, or a turn that lies before now."""
    chance = random.Random(7)
    claimed: list[Claim] = []
    for n in range(100):
        entries = [due(chance.randrange(300), chance.choice("abc"), chance.choice((0, 5)),
                       chance.choice((-5000, 0, 0, 40, 5000))) for _ in range(5)]  # fmt: skip
        updates = IndexUpdates(add=entries)
        for claim_ in claimed:
            chance.choice((updates.remove, updates.release)).append(claim_)
        quotas = [of("a", "b", room=chance.randrange(20)), of("c", room=chance.randrange(3))]
        claimed = list(
            one_index.sync_and_claim(HERE, updates, quotas, ClaimOptions(chance.choice((5, 200)))).claims
        )
        seconds, micros = redis_client.time()
        now = seconds * 1000 + micros / 1000
        for key in cast("list[bytes]", redis_client.keys("*:due:*")):
            _, type_, priority = key.decode().rsplit(":", 2)
            [(_, first)] = cast("list[tuple[bytes, float]]", redis_client.zrange(key, 0, 0, withscores=True))
            turn = redis_client.zscore(f"sweephand:{{{HERE}}}:lanes:{priority}", type_)
            assert turn == first or (turn is not None and first <= now and turn <= now), (n, key, turn, first)


# ---------------------------------------------------------------- what is not ours


@pytest.mark.parametrize("score", [1, float("-inf")])
@pytest.mark.parametrize(
    "member", [b"foreign", b"\xff\xfe", b"", b"x" * 10_000, b"00000000-0000-0000-0000-00000000000g"]
)
def test_foreign_members_are_removed_and_named(
    one_index: Index, redis_client: "redis.Redis", member: bytes, score: float
) -> None:
    """A member that is no job's id, whatever its score, ends no call, and nobody claims it."""
    add(one_index, due(1))
    redis_client.zadd(f"sweephand:{{{HERE}}}:due:noop:0", {member: score})
    step = one_index.sync_and_claim(HERE, IndexUpdates(), [of("noop", room=5)], ClaimOptions(HOLD))
    assert ns(list(step.claims)) == [1]
    assert len(step.foreign) == 1
    assert redis_client.zscore(f"sweephand:{{{HERE}}}:due:noop:0", member) is None


@pytest.mark.parametrize("score", ["-inf", "+inf", 0, -1e300, 1e300])
def test_a_jobs_id_with_an_odd_score_ends_no_call(
    one_index: Index, redis_client: "redis.Redis", score: float
) -> None:
    """A score is only when to look: due, or not."""
    redis_client.zadd(f"sweephand:{{{HERE}}}:due:noop:0", {due(1).id: score})
    first = one_index.sync_and_claim(HERE, IndexUpdates(), [of("noop", room=5)], ClaimOptions(HOLD))
    assert ns(list(first.claims)) == ([1] if float(score) <= 0 else [])
    one_index.sync_and_claim(
        HERE, IndexUpdates(release=list(first.claims)), [of("noop", room=5)], ClaimOptions(HOLD, far_ms=15_000)
    )


@pytest.mark.parametrize("name", ["Not A Type", "\xff", "", "x" * 100])
def test_foreign_lanes_are_removed(one_index: Index, redis_client: "redis.Redis", name: str) -> None:
    """A lane whose name is no type's is forgotten."""
    redis_client.zadd(f"sweephand:{{{HERE}}}:lanes:4", {name: 1})
    step = one_index.sync_and_claim(HERE, IndexUpdates(add=[due(1)]), [of("noop", room=5)], ClaimOptions(HOLD))
    assert ns(list(step.claims)) == [1]
    assert step.foreign
    assert redis_client.zcard(f"sweephand:{{{HERE}}}:lanes:4") == 0


@pytest.mark.parametrize("key", ["due:noop:0", "lanes:0", "notification", "active", "generation"])
def test_a_key_of_another_kind_is_deleted(one_index: Index, redis_client: "redis.Redis", key: str) -> None:
    """If somebody has put something else under a key of ours, the call deletes it and goes on."""
    name = f"sweephand:{{{HERE}}}:{key}"
    redis_client.hset(name, "field", "value")
    lane = Lane("noop", 0)
    step = one_index.sync_and_claim(
        HERE, IndexUpdates(add=[due(1)]), [of("noop", room=5)], ClaimOptions(HOLD, begins=True, notify=lane)
    )
    assert ns(list(step.claims)) == [1]


# ---------------------------------------------------------------- which tick is active


def test_the_index_says_that_it_forgot_the_ticks(one_index: Index, redis_client: "redis.Redis") -> None:
    """It knows that the last tick has left; if even that is gone, it may have lost what it knew."""
    assert one_index.sync_and_claim(
        HERE, IndexUpdates(), options=ClaimOptions(trigger=TriggerRequest(0, 60_000))
    ).forgot
    assert not one_index.sync_and_claim(
        HERE, IndexUpdates(), options=ClaimOptions(trigger=TriggerRequest(0, 60_000))
    ).forgot
    tick(one_index, works=True)
    tick(one_index)
    step = one_index.sync_and_claim(HERE, IndexUpdates(), options=ClaimOptions(trigger=TriggerRequest(0, 60_000)))
    assert (step.must_trigger, step.forgot) == (True, False)
    redis_client.delete(f"sweephand:{{{HERE}}}:active")
    assert one_index.sync_and_claim(
        HERE, IndexUpdates(), options=ClaimOptions(trigger=TriggerRequest(0, 60_000))
    ).forgot


def must_trigger(index: Index, wait_ms: int = 0) -> bool:
    """Tell whether a create of a job that is due in `wait_ms` must trigger a tick, which would stay a minute."""
    return index.sync_and_claim(
        HERE, IndexUpdates(), options=ClaimOptions(trigger=TriggerRequest(wait_ms, 60_000))
    ).must_trigger


def tick(index: Index, name: str = "a", *, stay_ms: int = 0, works: bool = False, begins: bool = False) -> Claimed:
    """Step as a tick does."""
    return index.sync_and_claim(
        HERE,
        IndexUpdates(),
        [of("noop", room=10)],
        ClaimOptions(HOLD, begins, tick=ActiveTick(name, stay_ms, works)),
    )


def test_one_of_many_must_trigger_a_tick(index: Index) -> None:
    """While no tick is active the first create must trigger one; the others count on that tick."""
    assert [must_trigger(index) for _ in range(3)] == [True, False, False]


def test_a_tick_is_active_while_it_claims_or_runs(index: Index) -> None:
    """The tick says so itself, until a call of its own finds nothing: no job can slip in between."""
    add(index, due(1))
    assert tick(index).is_active
    assert not must_trigger(index)
    assert tick(index, works=True).is_active
    assert not must_trigger(index)
    assert not tick(index).is_active
    assert must_trigger(index)


def test_a_tick_is_active_while_something_comes_due(index: Index) -> None:
    """One that would wait for it, that is: one that would leave before is not."""
    add(index, due(1, wait_ms=30_000))
    assert not tick(index, stay_ms=20_000).is_active
    assert must_trigger(index)
    assert tick(index, stay_ms=40_000).is_active
    assert not must_trigger(index)


def test_a_tick_is_active_for_jobs_that_it_stays_for(index: Index) -> None:
    """Nobody counts on a tick that leaves before a job is due, nor on a triggered tick beyond its stay."""
    assert tick(index, stay_ms=20_000, works=True).is_active
    assert not must_trigger(index, 10_000)
    assert must_trigger(index, 30_000)
    assert not must_trigger(index, 50_000)
    assert must_trigger(index, 70_000)


def test_a_tick_that_leaves_does_not_speak_for_another(index: Index) -> None:
    """A tick that finds nothing leaves a working one active; creates count on the tick that stays longest."""
    assert tick(index, "old", works=True).is_active
    assert not tick(index, "new", begins=True).is_active
    assert not must_trigger(index)
    assert tick(index, "new", stay_ms=60_000, works=True).is_active
    assert not tick(index, "old", works=True).is_active
    assert not tick(index, "old").is_active
    assert not must_trigger(index, 30_000)
    assert not tick(index, "new").is_active
    assert must_trigger(index)


def test_a_trigger_that_came_to_nothing_is_forgotten(one_index: Index, redis_client: "redis.Redis") -> None:
    """Nobody waits for a triggered tick for longer than ten seconds."""
    assert must_trigger(one_index)
    [key] = [key for key in redis_client.scan_iter() if key.endswith(b":active")]
    assert 0 < redis_client.pttl(key) <= 10_000
