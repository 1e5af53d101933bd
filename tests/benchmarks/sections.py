"""What is measured, a section a function; each yields (figure, values) as soon as it has them."""

import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from tests.benchmarks import large_table, many_types, profiling
from tests.benchmarks.harness import KEY, TYPES, Bed, finished, medians
from tests.deploy import coldstart

Figures = Iterator[tuple[str, Mapping[str, Any]]]
STORES = ("rest", "direct")
REPEAT = 3
HTTP = {"HTTP_ALLOW": "127.0.0.0/8", "WEBHOOK_SIGNING_KEYS": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"}
"""What lets calls reach this machine, and signs them."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is drained, and by what."""

    kind: str
    count: int
    store: str = "direct"
    drainers: int = 1
    slots: int = 100
    payload: str = "{}"

    def __str__(self) -> str:
        """Name the figure."""
        return f"{self.kind}, {self.store}, {self.drainers} drainer{'s' * (self.drainers > 1)}"


def drain(bed: Bed) -> Figures:
    """Measure jobs a second from the first start to the last settle, both committed, and what one takes of whom."""
    for load in (Load("noop", 40_000), Load("io_10_ms", 20_000, slots=1000)):
        for store, drainers in itertools.product(STORES, (1, 2)):
            yield _drains(bed, replace(load, store=store, drainers=drainers), REPEAT)
    for load in _built_in(bed):
        yield _drains(bed, load, 1)


def _drains(bed: Bed, load: Load, times: int) -> tuple[str, Mapping[str, Any]]:
    return str(load), medians(times, lambda: _drain(bed, load))


def _drain(bed: Bed, load: Load) -> dict[str, float]:
    count = bed.scaled(load.count)
    bed.clear()
    bed.fill(load.kind, count, load.payload)
    bed.index()
    before = bed.spent()
    reports = bed.ticks(load.drainers, STORE=load.store, ASYNC_SLOTS=str(load.slots), **HTTP)
    spent = bed.spent()
    done, seconds = bed.drained()
    if done != count:
        raise RuntimeError(f"{done} of {count} jobs were completed")
    return {
        "rate": count / seconds,
        "seconds": seconds,
        "drainer_us": sum(report["cpu_s"] for report in reports) / count * 1e6,
        **{name: (spent[name] - before[name]) / count for name in spent},
        "rss_mb": max(report["rss_mb"] for report in reports),
    }


def _built_in(bed: Bed) -> list[Load]:
    objects = bed.stack.folder.path / "objects"
    Image.linear_gradient("L").resize((1600, 1200)).convert("RGB").save(objects / "bench.jpg")
    mail = {"to": "someone@example.com", "subject": "Hello!", "message": "This is a test job."}
    picture = {"source": f"{objects.as_uri()}/bench.jpg", "target": f"{objects.as_uri()}/out/$N.jpg", "width": 320}
    paper = {"title": "Report", "markdown": "# One\n\nText. " * 20, "target": f"{objects.as_uri()}/out/$N.pdf"}
    return [
        Load("email_notification", 2_000, payload=json.dumps(mail)),
        Load("resize_image", 200, payload=json.dumps(picture)),
        Load("generate_pdf", 200, payload=json.dumps(paper)),
    ]


def calls(bed: Bed) -> Figures:
    """Measure calls of a URL on this machine a second, from one drainer, and lateness beside them."""
    with bed.receiver() as url:
        payload = json.dumps({"url": url, "headers": {"Content-Type": "application/json"}, "body": "{}" * 50})
        for store in STORES:
            load = Load("http_request", 5_000, store=store, payload=payload)
            yield _drains(bed, load, REPEAT)
        for name, beside in (("alone", 0), ("beside 5,000 calls", 5_000)):
            bed.clear()
            bed.fill("http_request", bed.scaled(beside) if beside else 0, payload, "now() + interval '5 s'")
            bed.fill("noop", 200, when="now() + interval '4 s' + n * interval '50 ms'")
            finished(bed.spawn("--linger", "18", STORE="direct", LINGER_SECONDS="18", **HTTP))
            yield f"lateness of 200 jobs over 10 s, {name}", bed.lateness("noop")


def drainers(bed: Bed) -> Figures:
    """Measure how the rate grows with the number of drainers on these cores."""
    for count in (1, 2, 4, 8):
        yield _drains(bed, Load("noop", 100_000, drainers=count), REPEAT)
        yield _drains(bed, Load("io_10_ms", 40_000, drainers=count), REPEAT)


def types(bed: Bed) -> Figures:
    """Measure what turns between 1, 10 and 1,000 types with equal backlogs cost, where 1,000 are known."""
    for store, count in itertools.product(STORES, (1, 10, 1_000)):
        yield (
            f"noop of {count:,} type{'s' * (count > 1)}, {store}",
            medians(REPEAT, partial(_drain_types, bed, store, count)),
        )


def _drain_types(bed: Bed, store: str, types: int) -> dict[str, float]:
    count = bed.scaled(40_000)
    bed.clear()
    bed.fill_types(many_types.NAMES[:types], count)
    bed.index(HANDLERS=many_types.__name__)
    [report] = bed.ticks(1, STORE=store, HANDLERS=many_types.__name__)
    done, seconds = bed.drained()
    if done != count:
        raise RuntimeError(f"{done} of {count} jobs were completed")
    return {"rate": count / seconds, "seconds": seconds, "drainer_us": report["cpu_s"] / count * 1e6}


def growth(bed: Bed) -> Figures:
    """Measure whether ten times the jobs take ten times as long."""
    seconds = []
    for count in (20_000, 200_000):
        _, found = _drains(bed, Load("noop", count), max(REPEAT, 5))
        seconds.append(found["seconds"])
        yield f"drain {count:,}, direct", found
    yield "200,000 against 20,000", {"ratio": seconds[1] / seconds[0]}


def create(bed: Bed) -> Figures:
    """Measure `POST /jobs` beside a function that does nothing on the same server and a bare call of the record."""
    job = {"type": "noop", "payload": {}}
    with bed.hello() as hello:
        for clients in (1, 8, 64):
            yield f"hello, {clients} clients", _load(bed, hello, "GET", "/", clients=clients)
    for store in STORES:
        yield f"POST /jobs beside its limit, {store}, 1 client", _beside_the_limit(bed, store)
        with bed.gateway(STORE=store) as url:
            for clients in (1, 8, 64):
                bed.clear()
                yield (
                    f"create, {store}, {clients} clients",
                    _load(bed, url, "POST", "/jobs", body=job, clients=clients),
                )
            bed.clear()
            batch = {"jobs": [job] * 1000}
            found = _load(bed, url, "POST", "/jobs/batch", body=batch, clients=1)
            yield f"create in batches of 1,000, {store}, 1 client", {**found, "jobs_per_s": found["rate"] * 1000}


def _beside_the_limit(bed: Bed, store: str) -> dict[str, Any]:
    """Return the p50 of a create, and its limit: that of a hello, of a bare call of the record, and 1 ms."""
    with bed.hello() as hello, bed.gateway(STORE=store) as url:
        return medians(
            REPEAT, lambda: json.loads(bed.run("-m", "tests.benchmarks.create_latency", hello, url, STORE=store))
        )


def _load(bed: Bed, url: str, method: str, path: str, *, clients: int, **more: Any) -> dict[str, Any]:
    asked = {"url": url, "method": method, "path": path, "clients": clients, **more}
    asked.setdefault("seconds", max(1.0, 5 * min(1, bed.scale)))
    found: dict[str, Any] = json.loads(bed.run("-m", "tests.benchmarks.load", json.dumps(asked)))
    if found["failed"]:
        raise RuntimeError(f"{found['failed']} requests to {path or 'the paths'} failed")
    return found


def read(bed: Bed) -> Figures:
    """Measure lists and single jobs of a record with a million rows."""
    bed.clear()
    count = bed.scaled(1_000_000)
    for type_ in TYPES:
        bed.fill(type_, count // len(TYPES), when="now() + n * interval '1 minute'")
    ids = [str(job) for (job,) in bed.sql.execute("select id from sweephand.jobs limit 500").fetchall()]
    paths = {
        "get": [f"/jobs/{job}" for job in ids],
        "list 50": ["/jobs"],
        "list 50 pending of a type": ["/jobs?status=pending&type=noop"],
        "list 200": ["/jobs?limit=200"],
    }
    with bed.gateway() as url:
        for name, each in paths.items():
            yield f"{name} of {count:,}", _load(bed, url, "GET", "", paths=each, clients=1)


def lateness(bed: Bed) -> Figures:
    """Measure start minus due of jobs that a lingering tick waits for."""
    shapes = {
        "200 jobs over 10 s": (200, "now() + interval '4 s' + n * interval '50 ms'", 18),
        "10,000 jobs in one second": (10_000, "now() + interval '6 s' + n * interval '100 us'", 20),
    }
    for name, (count, when, linger) in shapes.items():
        for store in STORES:
            bed.clear()
            bed.fill("noop", count, when=when)
            report = finished(bed.spawn("--linger", str(linger), STORE=store, LINGER_SECONDS=str(linger)))
            yield f"{name}, {store}", {**bed.lateness(), "done": report["completed"], "cpu_s": report["cpu_s"]}
    yield "20 jobs, each posted while no tick is awake, rest", _posted(bed)
    if bed.scale >= 1:
        yield "600 jobs over three minutes, a tick each minute, rest", _hand_over(bed)


def _posted(bed: Bed) -> dict[str, float]:
    """Post a job at a time to a system that is idle, with a tick server that is warm."""
    bed.clear()
    with bed.tick_server() as tick, bed.gateway(WAKE_URL=tick) as url:
        for _ in range(20):
            httpx.post(
                f"{url}/jobs", json={"type": "noop", "payload": {}}, headers={"Authorization": f"Bearer {KEY}"}
            ).raise_for_status()
            bed.wait_until_asleep()
    return bed.lateness()


def _hand_over(bed: Bed) -> dict[str, float]:
    bed.clear()
    bed.fill("noop", 600, when="now() + interval '5 s' + n * interval '300 ms'")
    ticks = []
    for _ in range(4):
        ticks.append(bed.spawn("--linger", "70", TICK_BUDGET_SECONDS="110", LINGER_SECONDS="70"))
        time.sleep(60)
    reports = [finished(tick) for tick in ticks]
    return {**bed.lateness(), "done": sum(report["completed"] for report in reports)}


def cold_start(bed: Bed) -> Figures:
    """Measure from a process's start to its first answer, of the built artifacts."""
    with tempfile.TemporaryDirectory() as folder:
        bed.clear()
        for name, each in coldstart.measure(Path(folder), bed.stack.env, 3).items():
            yield name, {"ms": each}


def memory(bed: Bed) -> Figures:
    """Measure what the index keeps in Redis."""
    bed.clear()
    count = bed.scaled(100_000)
    bed.fill("noop", count)
    before = _redis_bytes(bed)
    bed.index()
    yield f"{count:,} jobs due", {"bytes_per_job": (_redis_bytes(bed) - before) / count}
    bed.clear()
    count = bed.scaled(1_000_000)
    bed.fill("noop", count, when="now() + interval '1 day' + n * interval '1 s'")
    before = _redis_bytes(bed)
    bed.index()
    yield f"{count:,} jobs beyond the horizon", {"bytes": float(_redis_bytes(bed) - before)}


def _redis_bytes(bed: Bed) -> int:
    info: Mapping[str, Any] = bed.redis.info("memory")
    return int(info["used_memory"]) - int(info["mem_clients_normal"]) - int(info.get("mem_aof_buffer", 0))


def idle(bed: Bed) -> Figures:
    """Measure a tick that finds nothing, on warm connections."""
    for store in STORES:
        bed.clear()
        yield f"idle tick, {store}", json.loads(bed.run("-m", "tests.benchmarks.idle_tick", STORE=store))


SECTIONS = {
    "drain": drain,
    "calls": calls,
    "drainers": drainers,
    "types": types,
    "growth": growth,
    "profile": profiling.profile,
    "create": create,
    "read": read,
    "lateness": lateness,
    "memory": memory,
    "idle": idle,
    "coldstart": cold_start,
    "rows": large_table.rows,
    "churn": large_table.churn,
}
ONLY_WHEN_NAMED = ("churn",)
"""An hour long."""
