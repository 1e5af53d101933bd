"""What is read from serverless.yml."""

from pathlib import Path

import pytest

from infra.local.serving.serverless_yml import Events, Route, RoutesError, Schedule, read


def _read(tmp_path: Path, functions: str) -> Events:
    path = tmp_path / "serverless.yml"
    path.write_text(f"service: test\nfunctions:\n{functions}")
    return read(path)


def test_project_file_has_every_route_and_one_tick() -> None:
    """The project's own file names the HTTP interface, a catch-all and a tick each minute."""
    events = read()
    assert {(route.method, route.path) for route in events.routes} >= {
        ("POST", "/jobs"),
        ("GET", "/jobs"),
        ("GET", "/jobs/{id}"),
        ("PUT", "/jobs/{id}/cancel"),
        ("GET", "/health"),
        ("GET", "/openapi.json"),
    }
    assert events.catch_all is not None
    assert [schedule.seconds for schedule in events.schedules] == [60]
    assert events.schedules[0].function not in events.http_functions


@pytest.mark.parametrize(
    ("event", "route"),
    [
        ("{httpApi: {method: post, path: /jobs}}", Route("f", "POST", "/jobs")),
        ("{httpApi: 'PUT /jobs/{id}/cancel'}", Route("f", "PUT", "/jobs/{id}/cancel")),
        ("{httpApi: {method: '*', path: /any}}", Route("f", "ANY", "/any")),
    ],
)
def test_both_spellings_of_a_route_are_read(tmp_path: Path, event: str, route: Route) -> None:
    """A route is written as method and path, or as one string; `*` is any method."""
    events = _read(tmp_path, f"  f:\n    handler: m.f\n    events: [{event}]\n")
    assert events.routes == (route,)


@pytest.mark.parametrize(
    ("event", "seconds"),
    [
        ("schedule: rate(1 minute)", [60]),
        ("schedule: {rate: rate(2 hours)}", [7200]),
        ("schedule: {rate: ['rate(5 minutes)', rate(1 day)]}", [300, 86400]),
        ("schedule: {rate: rate(1 minute), enabled: false}", []),
    ],
)
def test_rates_are_seconds(tmp_path: Path, event: str, seconds: list[int]) -> None:
    """A rate is read in every unit; a schedule that is off does not tick."""
    events = _read(tmp_path, f"  f:\n    events:\n      - {event}\n")
    assert events.schedules == tuple(Schedule("f", each) for each in seconds)


def test_other_events_and_variables_are_passed_over(tmp_path: Path) -> None:
    """Queues have no local counterpart, and `${…}` stays text."""
    events = _read(
        tmp_path,
        "  f:\n    timeout: '${self:custom.t}'\n    events:\n      - sqs: arn\n      - httpApi: '*'\n  g: {}\n",
    )
    assert (events.routes, events.catch_all, events.schedules) == ((), "f", ())


@pytest.mark.parametrize(
    ("functions", "reason"),
    [
        ("  f: {events: [{schedule: 'cron(0 12 * * ? *)'}]}\n", "only rate"),
        ("  f: {events: [{httpApi: {method: GRAB, path: /jobs}}]}\n", "a method and a path"),
        ("  f: {events: [{httpApi: '*'}]}\n  g: {events: [{httpApi: '*'}]}\n", "one function"),
        ("  []\n", "no functions"),
        ("  [\n", "not YAML"),
    ],
)
def test_what_cannot_be_emulated_is_an_error(tmp_path: Path, functions: str, reason: str) -> None:
    """An event that would be served otherwise than in the cloud is refused with the reason."""
    with pytest.raises(RoutesError, match=reason):
        _read(tmp_path, functions)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(RoutesError, match=r"serverless\.yml"):
        read(tmp_path / "serverless.yml")
