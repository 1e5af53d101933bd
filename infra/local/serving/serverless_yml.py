"""Reads the routes and schedules of `serverless.yml`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweephand.layout import ROOT

FILE = ROOT / "serverless.yml"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANY"})
UNITS = {"minute": 60, "hour": 3600, "day": 86400}


class RoutesError(Exception):
    """`serverless.yml` has an entry that this reader does not understand. The message names it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, and the function that answers them."""

    function: str
    method: str
    """In capitals. `ANY` stands for every method."""
    path: str
    """As API Gateway writes it: `/jobs/{id}`."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A function that a schedule calls."""

    function: str
    seconds: int
    """Seconds from one call to the next, 60 or more."""


@dataclass(frozen=True, slots=True)
class Events:
    """The events that call the functions."""

    routes: tuple[Route, ...]
    catch_all: str | None
    """The function that gets a request that no route matches: `httpApi: '*'`."""
    schedules: tuple[Schedule, ...]

    @property
    def http_functions(self) -> tuple[str, ...]:
        """The functions that a request can reach, each once, in the order of the file."""
        names = [route.function for route in self.routes]
        return tuple(dict.fromkeys([*names, *([self.catch_all] if self.catch_all else [])]))


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short tags, such as `!GetAtt`, as the text behind them: no event needs them."""


def _text(loader: yaml.SafeLoader, _tag: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("!", _text)


def read(path: Path = FILE) -> Events:
    """Return the events of the file `path`, in Serverless v3's syntax. `${…}` values stay as text.

    Raises RoutesError when the file is missing, is no YAML, or has an event that we cannot emulate.
    """
    try:
        document = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise RoutesError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise RoutesError(f"{path} is not YAML: {error}") from None
    functions = document.get("functions") if isinstance(document, dict) else None
    if not isinstance(functions, dict) or not functions:
        raise RoutesError(f"{path} lists no functions")
    return _events(functions)


def _events(functions: Mapping[str, Any]) -> Events:
    routes: list[Route] = []
    schedules: list[Schedule] = []
    catch_all: list[str] = []
    for function, settings in functions.items():
        for event in (settings or {}).get("events") or []:
            match event:
                case {"httpApi": "*"}:
                    catch_all.append(function)
                case {"httpApi": str() | dict() as value}:
                    routes.append(_route(function, value))
                case {"schedule": str() | dict() as value}:
                    schedules += _schedule(function, value)
                case _:
                    pass  # queues, alarms and the like do not exist locally
    if len(catch_all) > 1:
        raise RoutesError(f"httpApi: '*' belongs to one function, not to {' and '.join(catch_all)}")
    return Events(tuple(routes), catch_all[0] if catch_all else None, tuple(schedules))


def _route(function: str, value: str | dict[str, Any]) -> Route:
    """Read `GET /jobs`, or the same as `{method, path}`. The method `*` is any method."""
    if isinstance(value, str):
        method, _, path = value.partition(" ")
    else:
        method, path = str(value.get("method", "")), str(value.get("path", ""))
    method = "ANY" if method == "*" else method.upper()
    if method not in METHODS or not path.startswith("/"):
        raise RoutesError(f"{function}: httpApi needs a method and a path, not {value!r}")
    return Route(function, method, path)


def _schedule(function: str, value: str | dict[str, Any]) -> list[Schedule]:
    """Read `rate(1 minute)`, alone or as `{rate, enabled}`. Each rate of a list is a schedule."""
    if isinstance(value, dict) and value.get("enabled") is False:
        return []
    rates = value.get("rate") if isinstance(value, dict) else value
    return [
        Schedule(function, _seconds(function, rate)) for rate in (rates if isinstance(rates, list) else [rates])
    ]


def _seconds(function: str, rate: object) -> int:
    parts = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", str(rate).strip())
    if parts is None or int(parts[1]) == 0:
        raise RoutesError(f"{function}: only rate(N minutes|hours|days) is emulated, not {rate!r}")
    return int(parts[1]) * UNITS[parts[2]]
