"""A handler: the code that a job's type names, and what it is given."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from pydantic import BaseModel

from sweephand.domain.json_value import JsonValue
from sweephand.domain.services import HttpCaller, Mailer, ObjectStore

NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}\Z", re.ASCII)
"""What a handler, and so a job's type, may be called; the table `sweephand.jobs` checks the same."""


class Isolation(StrEnum):
    """Where a handler runs, which decides what its time limit can end."""

    ASYNC = "async"
    """On the event loop: cancelled at its time limit."""
    THREAD = "thread"
    """In a thread: cannot be ended, so an overrun retires the whole process."""
    PROCESS = "process"
    """In a child process: killed at its time limit."""


class Retry(Exception):  # noqa: N818 - it is an instruction, not an error
    """Raised by a handler to be tried again after `after` seconds (0 or more), if attempts are left."""

    def __init__(self, after: float, reason: str = "the handler asked for a retry") -> None:
        if not 0 <= after <= MAX_RETRY_AFTER:
            raise ValueError(f"Retry(after=…) takes 0 to {MAX_RETRY_AFTER} seconds, not {after}")
        super().__init__(after, reason)
        self.after = after
        self.reason = reason


class Postpone(Retry):
    """Raised by a handler that has done nothing yet and is to be started again after `after` seconds.

    Nothing was sent or changed, so the attempt need not count; a tick that cannot tell it from `Retry` counts it.
    """


class GiveUp(Exception):  # noqa: N818 - it is an instruction, not an error
    """Raised by a handler when no further attempt can help: the job ends `failed` with `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


MAX_RETRY_AFTER = 365 * 24 * 3600
"""The longest wait, in seconds, that `Retry` may ask for: one year."""


@dataclass(slots=True)  # each attempt makes one: frozen, it would take four times as long
class Context:
    """What a handler knows of its attempt beside the payload."""

    job_id: UUID
    attempt: int
    """Which start this is, from 1: with `job_id` it names the attempt, to deduplicate side effects by."""
    deadline: float
    """When the time limit ends the attempt, on `time.monotonic()`'s clock, in seconds."""
    log: logging.Logger
    objects: ObjectStore
    mail: Mailer
    http: HttpCaller


Upgrade: TypeAlias = Callable[[dict[str, Any]], Mapping[str, JsonValue]]
"""Turns a payload as it was stored, by this or older code, into what the payload model takes today."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One job type: its name, payload model, time limit in seconds, isolation and code."""

    name: str
    payload: type[BaseModel]
    timeout: float
    isolation: Isolation
    run: Callable[[Any, Context], Any]
    aliases: tuple[str, ...] = ()
    """Former names: a job whose `type` is one of them runs by this handler."""
    upgrade: Upgrade | None = None
    """Called with a copy of the stored payload before each run, before the payload model validates it."""
    heeds_deadline: bool = False
    """Whether it ends by itself before its context's `deadline`: a tick with less time may lower its limit."""
