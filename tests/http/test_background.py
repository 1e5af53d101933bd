"""Threads that do work beside the caller."""

import threading
import time

import pytest

from sweephand.adapters import background
from sweephand.adapters.background import Threads
from tests.waiting import wait_until


def served() -> int:
    """Return how many threads there are that do such work."""
    return sum(thread.name == "sweephand-background" for thread in threading.enumerate())


def test_work_that_hangs_keeps_nobody() -> None:
    """Who began it goes on after the time that it gives, and the work ends when it can."""
    go_on, ended = threading.Event(), threading.Event()

    def hang() -> None:
        go_on.wait()
        ended.set()

    threads = Threads()
    began = time.monotonic()
    assert not threads.does(hang, 0.1)
    assert 0.1 <= time.monotonic() - began < 2
    assert threads.does(lambda: None, 5)
    go_on.set()
    assert ended.wait(5)


def test_threads_are_used_again_and_end_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that comes one by one takes one thread, which does not stay for ever."""
    monkeypatch.setattr(background, "IDLE", 0.5)
    wait_until(lambda: not served())
    threads = Threads()
    names: list[int] = []
    for _ in range(50):
        assert threads.does(lambda: names.append(threading.get_ident()), 5)
    assert len(set(names)) == 1
    wait_until(lambda: not served())
    assert threads.does(lambda: None, 5)


def test_after_a_flood_few_threads_stay() -> None:
    """Each piece of work has a thread at once, whatever hangs; KEPT of them wait for more."""
    wait_until(lambda: not served())
    threads, go_on = Threads(), threading.Event()
    for _ in range(40):
        assert not threads.does(go_on.wait, 0)  # type: ignore[arg-type] # what it returns is of no matter
    assert served() == 40
    go_on.set()
    wait_until(lambda: served() <= background.KEPT)


def test_an_error_is_logged_and_ends_the_work(caplog: pytest.LogCaptureFixture) -> None:
    """What the work raises is no matter of who began it, and the thread goes on."""
    threads = Threads()
    assert threads.does(lambda: 1 / 0, 5)  # type: ignore[arg-type] # what it returns is of no matter
    assert "ZeroDivisionError" in caplog.text
    assert threads.does(lambda: None, 5)
