"""Three Valkey nodes that are one cluster, as managed Redis often is: slots move between them, and nodes hang."""

import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.crc import key_slot
from redis.retry import Retry

from infra.local.services.valkey import Valkey

SLOTS = 16384
NODES = 3
NODE_TIMEOUT = 3
"""Seconds after which a silent node counts as failed; the cluster then answers CLUSTERDOWN until it is back."""


class Cluster:
    """Three nodes without replicas; a context manager. Clients reach the nodes themselves: no proxy is between."""

    def __init__(self, folder: Path, password: str) -> None:
        self._password = password
        options = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(NODE_TIMEOUT * 1000),
            "cluster-announce-ip": "127.0.0.1",
        }
        self.nodes = [
            Valkey(folder / f"node{n}", password=password, options=options, log=folder / f"node{n}.log")
            for n in range(NODES)
        ]
        self._ids: list[str] = []
        self._moved: dict[int, int] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for node in self.nodes:
                opening.enter_context(node)
            self._join()
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self._open.close()

    @property
    def urls(self) -> list[str]:
        """Each node's URL."""
        return [node.url for node in self.nodes]

    def client(self) -> "RedisCluster":
        """Return a client of the whole cluster."""
        return RedisCluster.from_url(self.urls[0], socket_timeout=2)

    def node(self, n: int) -> "redis.Redis":
        """Return a client of one node, which follows no redirection."""
        return redis.Redis(
            port=self.nodes[n].port, password=self._password, retry=Retry(NoBackoff(), 0), socket_timeout=5
        )

    def owner(self, tag: str) -> int:
        """Return which node holds the keys with this hash tag."""
        slot = key_slot(tag.encode())
        return self._moved.get(slot, slot * NODES // SLOTS)

    def begin_move(self, tag: str, target: int) -> None:
        """Begin to move the slot of this hash tag to another node: half of its keys go, the other half stay."""
        slot, source = key_slot(tag.encode()), self.owner(tag)
        with self.node(source) as old, self.node(target) as new:
            new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self._ids[source])
            old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self._ids[target])
            keys = old.execute_command("CLUSTER GETKEYSINSLOT", slot, 10_000)
            self._migrate(old, target, keys[: len(keys) // 2])

    def end_move(self, tag: str, target: int) -> None:
        """Move the rest, and have every node know the slot's new owner."""
        slot, source = key_slot(tag.encode()), self.owner(tag)
        with self.node(source) as old:
            while keys := old.execute_command("CLUSTER GETKEYSINSLOT", slot, 10_000):
                self._migrate(old, target, keys)
        for n in (target, source, *(n for n in range(NODES) if n not in (target, source))):
            with self.node(n) as node:
                node.execute_command("CLUSTER SETSLOT", slot, "NODE", self._ids[target])
        self._moved[slot] = target

    def freeze(self, nodes: list[int]) -> None:
        """Have these nodes hang: connections stay and are taken, nothing comes back."""
        for n in nodes:
            self.nodes[n].signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have every node go on."""
        for node in self.nodes:
            node.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill every node."""
        for node in self.nodes:
            node.kill()

    def start(self) -> None:
        """Start every node that does not run, with what it had, and wait until they are a cluster again."""
        for node in self.nodes:
            node.start()
        self.wait_until_whole()

    def configure(self, values: Mapping[str, str]) -> None:
        """Change settings of every node."""
        for n in range(NODES):
            with self.node(n) as client:
                for name, value in values.items():
                    client.config_set(name, value)

    def flush(self) -> None:
        """Empty every node."""
        for n in range(NODES):
            with self.node(n) as client:
                client.flushall()

    def wait_until_whole(self, limit: float = 60) -> None:
        """Wait until each node knows the others and finds every slot served; raises TimeoutError."""
        until = time.monotonic() + limit
        for n in range(NODES):
            with self.node(n) as client:
                while not _whole(client):
                    if time.monotonic() > until:
                        raise TimeoutError("the cluster does not become whole")
                    time.sleep(0.05)

    def _join(self) -> None:
        for n in range(NODES):
            with self.node(n) as client:
                self._ids.append(_text(client.execute_command("CLUSTER MYID")))
                client.execute_command(
                    "CLUSTER ADDSLOTSRANGE", -(-n * SLOTS // NODES), -(-(n + 1) * SLOTS // NODES) - 1
                )
                if n:
                    first = self.nodes[0]
                    client.execute_command("CLUSTER MEET", "127.0.0.1", first.port, first.options["cluster-port"])
        self.wait_until_whole()

    def _migrate(self, old: "redis.Redis", target: int, keys: list[bytes]) -> None:
        if keys:
            port = self.nodes[target].port
            old.migrate("127.0.0.1", port, keys, 0, 5000, auth=self._password, replace=True)  # type: ignore[no-untyped-call,unused-ignore]


def _whole(client: "redis.Redis") -> bool:
    info: Any = client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == NODES


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
