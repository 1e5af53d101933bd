"""What tests wait for: states of other processes and threads, which have no event to wait on."""

import time
from collections.abc import Callable

import redis


def wait_until(true: Callable[[], object]) -> None:
    """Wait until something is so; pytest's time limit ends a vain wait."""
    while not true():
        time.sleep(0.01)  # what it waits for needs the processor too


def blocked(client: "redis.Redis") -> set[str]:
    """Return the clients of a server that wait for a notification, by their ids."""
    return {each["id"] for each in client.client_list() if each["cmd"] == "blpop" and "b" in each["flags"]}
