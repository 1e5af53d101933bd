"""A tick with a planned fault, and the deployment it works on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.chaos.tick import Plan
from tests.tick.conftest import ROOT, Deployment, deployment

__all__ = ["deployment"]
Strike = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def strike(deployment: Deployment) -> Iterator[Strike]:
    """Yield what starts a tick in a process of its own that a signal strikes at one of its steps."""
    running: list[subprocess.Popen[str]] = []

    def start(step: str, number: signal.Signals, nth: int = 1, **plan: int) -> "subprocess.Popen[str]":
        made = Plan(step, nth, number, **plan)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.tick", "--budget", "20", "--linger", "0"],
            cwd=ROOT,
            env={**os.environ, **made.environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def wait_until_frozen(process: "subprocess.Popen[str]") -> None:
    """Wait until a process has been stopped; pytest's time limit ends a vain wait."""
    while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
        pass
