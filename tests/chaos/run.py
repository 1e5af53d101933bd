"""A chaos run: load, ticks and faults together, then peace, then the verdict."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import faults, neighbours
from tests.chaos.fleet import Tempo
from tests.chaos.handlers import SECRET
from tests.chaos.load import Api, Load
from tests.chaos.verdict import FIGURES, Figure, entries_in, is_former, judge
from tests.chaos.witness import Part
from tests.chaos.world import INDEXES, KEY, TRANSPORTS, World

SHORT = Tempo(budget=(7, 9), frozen_for=4, lease_margin_ms=1000, hold_ms=1000, struck=0.3)
LONG = Tempo()
EXAMPLES = 10
"""How many of a forbidden figure's are told."""


@dataclass(frozen=True)
class Options:
    """What `make chaos` was asked."""

    seed: int
    jobs: int = 50_000
    duration: float = 420
    """Seconds of faults; every fault comes at least once."""
    patience: float = 480
    """Seconds after the last fault in which everything must have ended."""
    scale: float = 1
    pace: Tempo = LONG
    folder: Path | None = None
    transport: str = TRANSPORTS[0]
    index: str = INDEXES[0]


@dataclass
class Result:
    """What a run has shown."""

    options: Options
    figures: dict[str, int] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    ticks: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Of what was forbidden, by the figure's name."""
    seconds: float = 0

    @property
    def forbidden(self) -> dict[str, int]:
        """Return the figures that must be 0 and are not."""
        return {f.name: n for f in LINES if f.forbidden and (n := self.figures[f.name])}


EXTRA = (
    Figure("second", "jobs of the second installation on the same Redis", "", forbidden=False),
    Figure("second_wrong", "forbidden figures of the second installation, together", ""),
    Figure("former", "entries of jobs that a user deleted", "", forbidden=False),
    Figure("strangers", "entries of jobs that nobody created", ""),
    Figure("secrets", "secrets, keys or payloads in our log lines", ""),
    Figure("late_writes", "late writes refused", "", forbidden=False),
    Figure("restored", "jobs put back into the index", "", forbidden=False),
    Figure("confirmed_cancels", "cancels confirmed", "", forbidden=False),
    Figure("refused_cancels", "cancels that came too late", "", forbidden=False),
    Figure("explanations", "explanations asked for", "", forbidden=False),
    Figure("by_api", "created through the API", "", forbidden=False),
    Figure("asked_again", "requests that the client had to repeat", "", forbidden=False),
    Figure("broken", "answers of the API that were an internal error", ""),
    Figure("swallowed", "answers thrown away between services", "", forbidden=False),
)
LINES = (*FIGURES, *neighbours.FIGURES, *EXTRA)


def run(options: Options, say: "faults.Say" = lambda _line: None) -> Result:
    """Do all of it and return what it has shown."""
    began = time.monotonic()
    result = Result(options)
    with tempfile.TemporaryDirectory(prefix="sweephand-chaos-") as temporary:
        folder = options.folder or Path(temporary)
        fleet = random.Random(f"{options.seed} fleet")
        with World(
            folder,
            options.pace,
            fleet,
            scale=options.scale,
            transport=options.transport,
            index=options.index,
        ) as world:
            say(f"the world stands after {time.monotonic() - began:.0f} s")
            _live(world, options, result, say)
    result.seconds = time.monotonic() - began
    return result


def _live(world: World, options: Options, result: Result, say: "faults.Say") -> None:
    api = Api(world.api_url, KEY)
    first = Load(
        options.jobs,
        options.duration * 0.8,
        random.Random(f"{options.seed} load"),
        world.stack.database_url,
        api=api,
        asked=world.asked,
    )
    few = random.Random(f"{options.seed} second")
    second = Load(options.jobs // 50, options.duration * 0.8, few, world.second_url)
    loads = [first, second]
    began = time.time()
    for load in loads:
        load.start()
    _inflict(world, options, result, first, say)
    world.heal()
    _settle_down(world, options, loads, say)
    ended = time.time()
    world.fleet.stop()
    result.ticks = world.fleet.done
    _judge(world, (first, second), api, (began, ended), result)
    api.close()


def _inflict(world: World, options: Options, result: Result, load: Load, say: "faults.Say") -> None:
    """Inflict every fault in random order, and again, until the time is up.

    Neighbours come first, one after the other, and no tick is struck meanwhile: while the record or a tick is away,
    nobody could tell for whom a job waits.
    """
    rng = random.Random(f"{options.seed} faults")
    until = time.monotonic() + options.duration
    kinds = faults.suitable(options.transport, options.index)
    while True:
        deck = list(kinds)
        rng.shuffle(deck)
        deck.sort(key=lambda kind: kind.part is not Part.NEIGHBOUR)
        for kind in deck:
            if time.monotonic() > until and result.faults.keys() >= {k.__name__ for k in kinds}:
                return
            world.fleet.spared = load.harmless = kind.part is Part.NEIGHBOUR
            say(f"{(kind.__doc__ or '').splitlines()[0]}")
            with world.witness.fault(kind.__name__, kind.part):
                kind().inflict(world)
            result.faults[kind.__name__] += 1
            world.wait(rng.uniform(0.5, 3))


def _settle_down(world: World, options: Options, loads: list[Load], say: "faults.Say") -> None:
    """Let ticks work in peace until nothing is open, or patience ends."""
    until = time.monotonic() + options.patience
    while time.monotonic() < until:
        world.wait_exactly(0.5)
        for load in loads:
            if load.failed:
                raise load.failed
        if any(load.is_alive() for load in loads):
            continue
        left = [world.count_open(url) for url in (world.stack.database_url, world.second_url)]
        if not any(left):
            return
        world.fleet.shares = [float(count > 0) for count in left]
        say(f"{left[0]:,} and {left[1]:,} jobs are open")


def _judge(world: World, loads: tuple[Load, Load], api: Api, during: tuple[float, float], result: Result) -> None:
    entries = entries_in(world.ledger)
    first, second = (load.asked for load in loads)
    figures = judge(world.stack.database_url, first, entries)
    other = judge(world.second_url, second, entries)
    lives = world.fleet.lives
    apart = neighbours.judge(
        world.stack.database_url, first, entries, lives=lives, witness=world.witness, run=during
    )
    wrong = [f"{f.words}: {other[f.name]}" for f in FIGURES if f.forbidden and other[f.name]]
    result.examples = apart.examples | ({"second_wrong": wrong} if wrong else {})
    reports = world.fleet.reports()
    proxies = (world.rest_proxy, world.database_proxy, world.index_proxy, world.api_proxy)
    former = sum(is_former(entry, first) for entry in entries)
    result.figures = {
        **figures,
        **apart.figures,
        "second": other["accepted"],
        "second_wrong": sum(other[f.name] for f in FIGURES if f.forbidden),
        "former": former,
        "strangers": len(entries) - figures["entries"] - other["entries"] - former,
        "secrets": len(secrets_in(world)),
        "late_writes": _total(reports, "late_writes"),
        "restored": _total(reports, "restored"),
        "confirmed_cancels": len(first.cancelled),
        "refused_cancels": first.refused_cancels,
        "explanations": first.explanations,
        "by_api": first.by_api,
        "asked_again": api.retried,
        "broken": api.broken,
        "swallowed": sum(proxy.swallowed for proxy in proxies),
    }


def secrets_in(world: World) -> list[str]:
    """Return the lines of our logs in which a key, a password or something of a payload stands."""
    known = world.stack.secrets
    hidden = [SECRET, KEY, known.secret_key, known.jwt, known.valkey, known.postgres, known.authenticator]
    lines = [
        line
        for path in (world.fleet.log, world.fleet.reports_file, world.gateway.log)
        for line in path.read_text(errors="replace").splitlines()
    ]
    return [line for line in lines if any(secret in line for secret in hidden)]


def _total(reports: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(int(report.get(name, 0)) for report in reports)


def table(result: Result) -> str:
    """Return the figures as a table."""
    options = result.options
    inflicted, kinds = sum(result.faults.values()), len(result.faults)
    rows = [
        f"seed {options.seed}, {options.jobs:,} jobs, {inflicted} faults of {kinds} kinds, {result.seconds:.0f} s",
        f"transport {options.transport}, index {options.index}",
        "",
        *(_row(line.words, result.figures[line.name], "must be 0" if line.forbidden else "") for line in LINES),
        "",
        *(_row(name, count, "") for name, count in sorted(result.ticks.items())),
    ]
    for name, lines in result.examples.items():
        rows += ["", f"{name}, as", *(f"  {line}" for line in lines[:EXAMPLES])]
    return "\n".join(rows)


def _row(words: str, count: int, note: str) -> str:
    wrong = " ✗" if note and count else ""
    return f"  {words:<64} {count:>9,}  {note}{wrong}".rstrip()


def as_json(result: Result) -> Mapping[str, object]:
    """Return everything that a run has shown."""
    return {
        "seed": result.options.seed,
        "jobs": result.options.jobs,
        "transport": result.options.transport,
        "index": result.options.index,
        "seconds": round(result.seconds, 1),
        "figures": result.figures,
        "faults": result.faults,
        "ticks": result.ticks,
        "forbidden": result.forbidden,
        "examples": {name: lines[:EXAMPLES] for name, lines in result.examples.items()},
    }
