"""The ticks of a chaos run: processes that are started, struck, and started again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.tick import STEPS, Plan

ROOT = Path(__file__).parents[2]
OLD = "tests.chaos.handlers"
NEW = "tests.chaos.handlers,tests.chaos.newer"


@dataclass(frozen=True)
class Tempo:
    """How a fleet behaves; a short run has less patience than a long one."""

    size: int = 3
    """Ticks at once."""
    budget: tuple[float, float] = (8, 20)
    """Seconds that a tick may work, from … to."""
    spawn_every: float = 0.5
    """Seconds between two starts."""
    struck: float = 0.4
    """The share of ticks that carry a fault."""
    frozen_for: float = 18
    """Seconds from a SIGSTOP to its SIGCONT: longer than a lease."""
    lease_margin_ms: int | None = None
    hold_ms: int | None = None


@dataclass
class Life:
    """One tick, from its start to its end, in real time."""

    installation: int
    modules: str
    began: float
    ended: float = 0
    code: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)
    """What it printed at its end; empty where it could not."""
    said: str = ""
    """The last line of its log."""
    freezes: list[tuple[float, float]] = field(default_factory=list)
    """From when to when it was stopped by SIGSTOP."""

    @property
    def lost(self) -> bool:
        """Tell whether it ended without a chance to hand anything back."""
        return self.code < 0 and self.code != -signal.SIGTERM

    @property
    def released(self) -> int:
        """How many jobs it handed back unstarted."""
        return int(self.report.get("released", 0))

    @property
    def failed(self) -> bool:
        """Tell whether it ended with an error: not by a signal, and not to retire."""
        return self.code > 0 and not self.report.get("stuck")


@dataclass
class _Tick:
    process: "subprocess.Popen[bytes]"
    life: Life
    out: Path
    err: Path
    frozen_since: float | None = None


class Fleet:
    """Keeps ticks running in `folder`, each with a report on stdout and a log on stderr; `poll` it often."""

    def __init__(self, envs: list[Mapping[str, str]], folder: Path, pace: Tempo, rng: random.Random) -> None:
        """Start ticks in these environments; the first gets most of them."""
        self.pace = pace
        self.size = pace.size
        self.calm = False
        """Whether ticks run unharmed, and all of them the newer version."""
        self.spared = False
        """Whether ticks run unharmed."""
        self.lives: list[Life] = []
        """Ticks that have ended."""
        self.on_report: Callable[[Life], None] = lambda _life: None
        """Called soon after a tick has printed its report, which is before its process ends."""
        self.skew = 0.0
        self.shares = [0.8] + [0.2 / (len(envs) - 1)] * (len(envs) - 1)
        """How likely a new tick is to work for each installation."""
        self.done: Counter[str] = Counter()
        self.log, self.reports_file = folder / "ticks.log", folder / "reports.jsonl"
        self._envs, self._rng = envs, rng
        self._ticks: list[_Tick] = []
        self._next = 0.0
        self._spawned = 0
        self._outputs = folder / "ticks"
        self._outputs.mkdir()
        self.log.touch()
        self.reports_file.touch()

    def poll(self) -> None:
        """Reap what has ended, thaw what was frozen long enough, start what is missing."""
        now = time.monotonic()
        for tick in self._ticks:
            self._thaw(tick, time.time())
            self._hear(tick)
        for tick in [t for t in self._ticks if t.process.poll() is not None]:
            self._ticks.remove(tick)
            self._reap(tick)
        alive = sum(t.frozen_since is None for t in self._ticks)
        if alive < self.size and now >= self._next:
            self._next = now + self.pace.spawn_every
            self._spawn()

    def strike(self, number: signal.Signals) -> None:
        """Send a signal to one of the ticks."""
        if running := [t for t in self._ticks if t.frozen_since is None and t.process.poll() is None]:
            self._rng.choice(running).process.send_signal(number)
            self.done[f"random {number.name}"] += 1

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End every tick and wait for it."""
        for tick in self._ticks:
            with suppress(ProcessLookupError):
                tick.process.send_signal(signal.SIGCONT)
                tick.process.send_signal(number)
        for tick in self._ticks:
            try:
                tick.process.wait(30)
            except subprocess.TimeoutExpired:
                tick.process.kill()
                tick.process.wait()
            self._reap(tick)
        self._ticks = []

    def reports(self) -> list[Mapping[str, Any]]:
        """Return what the ticks that ended by themselves reported."""
        return [life.report for life in self.lives if life.report]

    def _hear(self, tick: _Tick) -> None:
        """Take a tick's report as soon as it is there."""
        if tick.life.report or not tick.out.stat().st_size:
            return
        with suppress(ValueError, IndexError):
            tick.life.report = json.loads(tick.out.read_text(errors="replace").splitlines()[-1])
            tick.life.ended = tick.out.stat().st_mtime
            self.on_report(tick.life)

    def _reap(self, tick: _Tick) -> None:
        """Note how a tick ended, and keep what it wrote."""
        life = tick.life
        self._hear(tick)
        life.code = tick.process.returncode
        life.ended = life.ended if life.report else time.time()
        if tick.frozen_since is not None:
            life.freezes.append((tick.frozen_since, life.ended))
        printed, logged = tick.out.read_text(errors="replace"), tick.err.read_text(errors="replace")
        life.said = (logged.splitlines() or [""])[-1]
        for text, file in ((printed, self.reports_file), (logged, self.log)):
            with file.open("a") as kept:
                kept.write(text)
        tick.out.unlink()
        tick.err.unlink()
        self.lives.append(life)
        self.done[_how(life.code)] += 1

    def _thaw(self, tick: _Tick, now: float) -> None:
        if tick.frozen_since is None:
            with suppress(psutil.Error):
                if psutil.Process(tick.process.pid).status() == psutil.STATUS_STOPPED:
                    tick.frozen_since = now
        elif now - tick.frozen_since > self.pace.frozen_for:
            with suppress(ProcessLookupError):
                tick.process.send_signal(signal.SIGCONT)
            tick.life.freezes.append((tick.frozen_since, now))
            tick.frozen_since = None
            self.done["thawed"] += 1

    def _spawn(self) -> None:
        [installation] = self._rng.choices(range(len(self._envs)), self.shares)
        env = self._envs[installation]
        modules = NEW if self.calm or self._rng.random() < 0.5 else OLD
        budget = self._rng.uniform(*self.pace.budget)
        plan = self._plan()
        self._spawned += 1
        out_file, err_file = (self._outputs / f"{self._spawned}.{kind}" for kind in ("out", "err"))
        with out_file.open("wb") as out, err_file.open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.tick", "--budget", f"{budget:.1f}"],
                cwd=ROOT,
                env={**os.environ, **env, **plan.environment(), "HANDLERS": modules},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self._ticks.append(_Tick(process, Life(installation, modules, time.time()), out_file, err_file))
        if plan.step:
            self.done[f"planned {signal.Signals(plan.signal).name} {plan.step}"] += 1

    def _plan(self) -> Plan:
        base = Plan(
            lease_margin_ms=self.pace.lease_margin_ms, hold_ms=self.pace.hold_ms, skew=0 if self.calm else self.skew
        )
        if self.calm or self.spared or self._rng.random() > self.pace.struck:
            return base
        return replace(
            base,
            step=self._rng.choice(STEPS),
            nth=self._rng.choice((1, 1, 2, 3, 5, 8, 20)),
            signal=self._rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)),
            skew=self._rng.choice((0, 0, 0, 3600, -3600)),
        )


def _how(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
