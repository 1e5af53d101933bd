"""Promise 13 held against a run: nobody waits for a neighbour.

What is judged are jobs of instant types that no user's transaction touched, in the windows of a run in which
nothing that concerns everybody was broken, no tick had just been killed, and ticks were there.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from tests.chaos import fairness
from tests.chaos.fairness import BOUND, GRACE, KILLED, Job, Lane, Window
from tests.chaos.fleet import Life
from tests.chaos.load import Asked
from tests.chaos.verdict import Entry, Figure, is_former
from tests.chaos.witness import Part, Witness

INSTANT = {"quick", "brief", "flaky", "later", "hopeless", "secretive"}
"""Types whose handlers take no time, and that every version of the code knows."""
POOL = INSTANT | {"slow", "hang", "base", "nojson", "big", "dawdle"}
"""All that share the pool of async handlers and that every version knows."""
FIGURES = (
    Figure("waited", f"healthy jobs that waited for more than {BOUND:g} s beside an idle pool", ""),
    Figure("overtaken", "jobs started 5 s after one of their lane that was due later", ""),
    Figure("short", "lanes that got less than half of their share over 5 s", ""),
    Figure("drained", "ticks that said drained and left due work", ""),
    Figure("failed_ticks", "ticks that ended with an error, the record being well", ""),
    Figure("refused", "a user's transactions that were refused, as by a deadlock", ""),
    Figure("waited_index", "waited as long, the time of outages of Redis included", "", forbidden=False),
    Figure("judged", "seconds of the run in which waiting was judged", "", forbidden=False),
    Figure("compared", "times that shares of lanes were compared", "", forbidden=False),
    Figure("drained_seen", "ticks that said drained and were held against the record", "", forbidden=False),
    Figure("drained_unseen", "looks at the record for it that came to nothing", "", forbidden=False),
    Figure("committed", "a user's transactions that were committed", "", forbidden=False),
    Figure("rolled_back", "a user's transactions that were rolled back", "", forbidden=False),
)


@dataclass
class Judged:
    """The figures, and examples of what was forbidden."""

    figures: dict[str, int]
    examples: dict[str, list[str]] = field(default_factory=dict)


def judge(  # noqa: PLR0913 - what was asked, done and seen
    database_url: str,
    asked: Asked,
    entries: Sequence[Entry],
    *,
    lives: Sequence[Life],
    witness: Witness,
    run: Window,
) -> Judged:
    """Hold the first installation's starts, and all ticks' ends, against promise 13."""
    types = _types(database_url)
    entries = [entry for entry in entries if not is_former(entry, asked)]
    jobs = _jobs(types, asked, entries)
    starts: dict[Lane, list[float]] = defaultdict(list)
    for entry in entries:
        if entry.id in types and types[entry.id][0] in POOL:
            starts[types[entry.id][:2]].append(entry.at)
    for times in starts.values():
        times.sort()
    pool = [at for times in starts.values() for at in times]

    disturbed = _disturbed(lives, run)
    outages = [*disturbed, *witness.outages(Part.RECORD, Part.SCHEDULE)]
    lenient = fairness.windows(*run, outages)
    good = fairness.windows(*run, [*outages, *witness.outages(Part.INDEX)])
    instant = [job for job in jobs if job.lane[0] in INSTANT]
    waited = fairness.waited(instant, good, pool)
    released = [(life.ended, life.released) for life in lives if life.installation == 0 and life.released]
    overtaken = fairness.excused(fairness.overtaken(instant, good), released)
    compared, short = fairness.shares(jobs, good, starts)
    drained = witness.misled(lives)
    failed = [
        life for life in lives if life.failed and not life.freezes and not witness.disturbed(life, Part.RECORD)
    ]
    refused = {how: count for how, count in asked.transactions.items() if how.startswith("refused")}

    by_id = {job.id: job for job in jobs}
    figures = {
        "waited": len(waited),
        "overtaken": len(overtaken),
        "short": len(short),
        "drained": len(drained),
        "failed_ticks": len(failed),
        "refused": sum(refused.values()),
        "waited_index": len(fairness.waited(instant, lenient, pool)),
        "judged": round(sum(end - start for start, end in good)),
        "compared": compared,
        "drained_seen": witness.looks,
        "drained_unseen": witness.blind.total(),
        "committed": asked.transactions["committed"],
        "rolled_back": asked.transactions["rolled back"],
    }
    since = run[0]
    examples = {
        "waited": [
            f"{id_} {by_id[id_].lane} due at {by_id[id_].due - since:.1f} s, entered at "
            f"{by_id[id_].entered - since:.1f} s: {idle:.1f} s beside an idle pool"
            for id_, idle in waited.items()
        ],
        "overtaken": [
            f"{o.id} {o.lane}: one due later started at {o.since - since:.1f} s, "
            f"it waited until {o.until - since:.1f} s"
            for o in overtaken
        ],
        "short": [f"{s.lane} at {s.at - since:.1f} s: {s.starts} starts, {s.fair:.0f} were fair" for s in short],
        "drained": [f"at {d.life.ended - since:.1f} s: {len(d.jobs)} jobs, as {d.jobs[0]}" for d in drained],
        "failed_ticks": [f"at {life.ended - since:.1f} s, exit {life.code}: {life.said}" for life in failed],
        "refused": [f"{how}: {count}" for how, count in refused.items()],
        "drained_unseen": [f"{why}: {count}" for why, count in witness.blind.items()],
    }
    return Judged(figures, {name: lines for name, lines in examples.items() if lines})


def _disturbed(lives: Sequence[Life], run: Window) -> list[Window]:
    """Return when ticks of the first installation were killed, frozen, or not there."""
    ours = [life for life in lives if life.installation == 0]
    felt = KILLED - BOUND
    killed = [(life.ended, life.ended + felt) for life in ours if life.lost]
    frozen = [(began, max(ended + GRACE, began + felt)) for life in ours for began, ended in life.freezes]
    alive = [(life.began, life.ended) for life in ours]
    return [*killed, *frozen, *fairness.unattended(*run, alive)]


def _types(database_url: str) -> dict[str, tuple[str, int, float]]:
    """Return the type, the priority and the due time of each job that is there."""
    with psycopg.connect(database_url) as sql:
        rows = sql.execute(
            "select id::text, type, priority, extract(epoch from run_at)::float8 from sweephand.jobs"
        )
        return {job: (type_, priority, due) for job, type_, priority, due in rows}


def _jobs(types: dict[str, tuple[str, int, float]], asked: Asked, entries: Sequence[Entry]) -> list[Job]:
    """Return the first entry of each job of the pool that no user touched."""
    first: dict[str, Entry] = {}
    for entry in entries:
        if entry.id not in first or entry.at < first[entry.id].at:
            first[entry.id] = entry
    return [
        Job(id_, types[id_][:2], types[id_][2], entry.at, entry.attempt)
        for id_, entry in first.items()
        if id_ in types and types[id_][0] in POOL and id_ not in asked.touched
    ]
