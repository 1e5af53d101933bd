"""What the index does, on every kind of server."""

import uuid

import redis

from shared.adapters.redis_index import RedisIndex
from shared.ports.index import Ask, Awake, Claimed, Index, Lane, Moves, Step, Wake
from shared.ports.record import Due

HERE = "test"
HOLD = 10_000


def due(n: int, type_: str = "noop", priority: int = 0, wait_ms: int = 0) -> Due:
    """Return an entry whose id ends in n."""
    return Due(str(uuid.UUID(int=n)), type_, priority, wait_ms)


def add(index: Index, *entries: Due) -> int:
    """Index entries; return how many were new."""
    return index.step(HERE, Moves(add=list(entries))).added


def claim(index: Index, room: int = 100, *types: str, hold: int = HOLD) -> list[Claimed]:
    """Claim from one lane."""
    return list(index.step(HERE, Moves(), [Lane(types or ("noop",), room)], Ask(hold)).claimed)


def ns(claimed: list[Claimed]) -> list[int]:
    """Return the numbers that ids were made of."""
    return [uuid.UUID(c.id).int for c in claimed]


def test_what_is_due_is_claimed_once(index: RedisIndex) -> None:
    """A due member is claimed, and is held from the next claim."""
    assert add(index, due(1)) == 1
    assert ns(claim(index)) == [1]
    assert claim(index) == []


def test_what_is_not_due_is_not_claimed(index: RedisIndex) -> None:
    """A member whose time has not come stays."""
    add(index, due(1, wait_ms=60_000))
    assert claim(index) == []


def test_a_hold_ends(index: RedisIndex) -> None:
    """A claim that nobody follows up is claimed again after its hold."""
    add(index, due(1))
    assert ns(claim(index, hold=1)) == [1]
    while not (again := claim(index)):
        pass
    assert ns(again) == [1]


def test_adding_never_moves_what_is_there(index: RedisIndex) -> None:
    """Adding a held member does not pull it in."""
    add(index, due(1))
    claim(index)
    assert add(index, due(1)) == 0
    assert claim(index) == []


def test_the_highest_priority_goes_first_then_the_oldest(index: RedisIndex) -> None:
    """Claims come from the highest priority down, across types, oldest first within one."""
    add(index, due(1, priority=0))
    add(index, due(2, "other", priority=9))
    add(index, due(3, priority=9))
    add(index, due(4, priority=5))
    claimed = claim(index, 100, "noop", "other")
    assert [c.priority for c in claimed] == [9, 9, 5, 0]
    assert ns(claimed)[2:] == [4, 1]


def test_lanes_have_room_of_their_own(index: RedisIndex) -> None:
    """Each lane is claimed for as far as it has room, whatever the other has."""
    add(index, *(due(n) for n in range(1, 6)), *(due(n, "slow") for n in range(11, 16)))
    step = index.step(HERE, Moves(), [Lane(["noop"], 3), Lane(["slow"], 1)], Ask(HOLD))
    assert sorted(c.type for c in step.claimed) == ["noop"] * 3 + ["slow"]


def test_a_lane_without_room_and_an_unnamed_type_are_left_alone(index: RedisIndex) -> None:
    """No room, no claim; types that no lane names stay."""
    add(index, due(1), due(2, "foreign"))
    assert index.step(HERE, Moves(), [Lane(["noop"], 0)], Ask(HOLD)).claimed == []
    assert claim(index, 100, "foreign") != []


def test_what_was_started_is_forgotten(index: RedisIndex) -> None:
    """A removed member is gone, and may be added anew."""
    add(index, due(1))
    index.step(HERE, Moves(remove=claim(index)))
    assert claim(index) == []
    assert add(index, due(1)) == 1
    assert ns(claim(index)) == [1]


def test_a_wait_moves_the_callers_own_claim(index: RedisIndex) -> None:
    """A claim that is to wait is due after its wait, by the server's clock."""
    add(index, due(1), due(2))
    first, second = claim(index)
    index.step(HERE, Moves(wait=[(first, 0), (second, 60_000)]))
    assert ns(claim(index)) == [uuid.UUID(first.id).int]


def test_what_is_handed_back_keeps_its_place(index: RedisIndex) -> None:
    """Claims that are handed back are due again in their old order."""
    for n in (3, 1, 2):
        add(index, due(n))
        claim(index, 0)
    before = claim(index)
    index.step(HERE, Moves(back=list(reversed(before))))
    assert [(c.id, c.score) for c in claim(index)] == [(c.id, c.score) for c in before]


def test_a_stale_claim_moves_nothing(index: RedisIndex) -> None:
    """Once another has claimed a member, neither a wait nor a hand-back of the first claim touches it."""
    add(index, due(1))
    [stale] = claim(index, hold=1)
    while not claim(index):
        pass
    index.step(HERE, Moves(wait=[(stale, 0)]))
    index.step(HERE, Moves(back=[stale]))
    assert claim(index) == []


def test_moves_come_before_claims_in_one_step(index: RedisIndex) -> None:
    """What a step adds it can claim, and what it removes it cannot; a removed member can be added in one step."""
    add(index, due(1))
    old = claim(index)
    step = index.step(HERE, Moves(remove=old, add=[due(1), due(2)]), [Lane(["noop"], 10)], Ask(HOLD))
    assert sorted(ns(list(step.claimed))) == [1, 2]
    assert step.added == 2


def test_thousands_move_in_one_step(index: RedisIndex) -> None:
    """A step takes more members than Lua unpacks at once."""
    assert add(index, *(due(n) for n in range(10_000))) == 10_000
    claimed = claim(index, 10_000)
    assert len(claimed) == 10_000
    index.step(HERE, Moves(remove=claimed))
    assert claim(index) == []


def test_installations_do_not_see_each_other(index: RedisIndex) -> None:
    """Two installations on one server have indexes of their own."""
    index.step("staging", Moves(add=[due(1)]))
    assert claim(index) == []
    assert len(index.step("staging", Moves(), [Lane(["noop"], 9)], Ask(HOLD)).claimed) == 1


def test_when_says_in_how_long_a_job_is_looked_at(index: RedisIndex) -> None:
    """Due, waiting, held or not there: each is told, and nothing moves."""
    add(index, due(1), due(2, wait_ms=60_000))
    assert (index.when(HERE, due(1)) or 0) <= 0
    assert 50_000 < (index.when(HERE, due(2)) or 0) <= 60_000
    assert index.when(HERE, due(3)) is None
    assert ns(claim(index)) == [1]
    assert 0 < (index.when(HERE, due(1)) or 0) <= HOLD


def test_missing_counts_and_changes_nothing(index: RedisIndex) -> None:
    """What is not in the index is counted, and still is not."""
    add(index, due(1))
    assert index.missing(HERE, [due(1), due(2), due(3)]) == 2
    assert ns(claim(index)) == [1]


def test_what_is_pending_again_is_pulled_in(index: RedisIndex) -> None:
    """A job that another tick saw leased, and put off until then, is due again when it is settled; never later."""
    add(index, due(1))
    index.step(HERE, Moves(wait=[(claimed, 60_000) for claimed in claim(index)]))
    assert claim(index) == []
    index.step(HERE, Moves(again=[due(1), due(2)]))
    assert sorted(ns(claim(index, hold=60_000))) == [1, 2]
    index.step(HERE, Moves(again=[due(1, wait_ms=90_000)]))
    assert claim(index) == []


# ---------------------------------------------------------------- who is awake


def asleep(index: RedisIndex, wait_ms: int = 0) -> bool:
    """Tell whether one who creates a job that is due in `wait_ms` is to call a tick, which would stay a minute."""
    return index.step(HERE, Moves(), ask=Ask(wake=Wake(wait_ms, 60_000))).asleep


def tick(index: RedisIndex, name: str = "a", *, stay_ms: int = 0, busy: bool = False, enter: bool = False) -> Step:
    """Step as a tick does."""
    return index.step(HERE, Moves(), [Lane(["noop"], 10)], Ask(HOLD, enter, tick=Awake(name, stay_ms, busy)))


def test_one_of_many_is_told_to_call_a_tick(index: RedisIndex) -> None:
    """While nobody is awake the first is told so; then the tick that it calls is counted on."""
    assert [asleep(index) for _ in range(3)] == [True, False, False]


def test_a_tick_is_awake_while_it_claims_or_runs(index: RedisIndex) -> None:
    """It says so itself, and falls asleep with the step that finds nothing: no job can slip in between."""
    add(index, due(1))
    assert tick(index).awake
    assert not asleep(index)
    assert tick(index, busy=True).awake
    assert not asleep(index)
    assert not tick(index).awake
    assert asleep(index)


def test_a_tick_is_awake_while_something_comes_due(index: RedisIndex) -> None:
    """One that would wait for it, that is: one that would leave before is not."""
    add(index, due(1, wait_ms=30_000))
    assert not tick(index, stay_ms=20_000).awake
    assert asleep(index)
    assert tick(index, stay_ms=40_000).awake
    assert not asleep(index)


def test_a_tick_is_awake_for_what_it_stays_for(index: RedisIndex) -> None:
    """One that leaves before a job comes due is not counted on for it, nor a called one beyond its stay."""
    assert tick(index, stay_ms=20_000, busy=True).awake
    assert not asleep(index, 10_000)
    assert asleep(index, 30_000)
    assert not asleep(index, 50_000)
    assert asleep(index, 70_000)


def test_a_tick_that_leaves_does_not_speak_for_another(index: RedisIndex) -> None:
    """One that finds nothing leaves another awake that runs handlers; who stays longest is the one counted on."""
    assert tick(index, "old", busy=True).awake
    assert not tick(index, "new", enter=True).awake
    assert not asleep(index)
    assert tick(index, "new", stay_ms=60_000, busy=True).awake
    assert not tick(index, "old", busy=True).awake
    assert not tick(index, "old").awake
    assert not asleep(index, 30_000)
    assert not tick(index, "new").awake
    assert asleep(index)


def test_a_called_tick_is_not_waited_for_for_ever(one_index: RedisIndex, redis_client: "redis.Redis") -> None:
    """A call that came to nothing is forgotten within ten seconds."""
    assert asleep(one_index)
    [key] = [key for key in redis_client.scan_iter() if key.endswith(b":awake")]
    assert 0 < redis_client.pttl(key) <= 10_000
