"""Handlers that a newcomer might write: they print, log, and take their time."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sweephand import Context, handler

SAYS = "first"


class Words(BaseModel):
    """What to say."""

    word: str = "hello"


class Nap(BaseModel):
    """How long to sleep in the first attempt, and what to touch after it."""

    seconds: float
    file: str


def _speak(word: str, ctx: Context) -> str:
    print(f"printed {word}")  # noqa: T201 - its point
    print("held", word, sep=" ", end="")  # noqa: T201 - likewise
    ctx.log.info("logged %s", word)
    logging.getLogger("my.own").info("by itself %s", word)
    print("\x1b[2J", end="\n")  # noqa: T201 - likewise
    print("last", word, end="")  # noqa: T201 - likewise
    return SAYS


@handler("talk", payload=Words)
async def talk(words: Words, ctx: Context) -> str:
    """Speak on the event loop."""
    return _speak(words.word, ctx)


@handler("talk_thread", payload=Words)
def talk_thread(words: Words, ctx: Context) -> str:
    """Speak in a thread."""
    return _speak(words.word, ctx)


@handler("talk_process", payload=Words, isolation="process")
def talk_process(words: Words, ctx: Context) -> str:
    """Speak in a process."""
    return _speak(words.word, ctx)


@handler("nap", payload=Nap, timeout=50)
async def nap(nap: Nap, ctx: Context) -> Any:
    """Sleep on the event loop."""
    if ctx.attempt == 1:
        await asyncio.sleep(nap.seconds)
    await asyncio.to_thread(Path(nap.file).touch)
    return {"attempt": ctx.attempt}


@handler("nap_thread", payload=Nap, timeout=50)
def nap_thread(nap: Nap, ctx: Context) -> Any:
    """Sleep in a thread."""
    if ctx.attempt == 1:
        time.sleep(nap.seconds)
    Path(nap.file).touch()
    return {"attempt": ctx.attempt}
