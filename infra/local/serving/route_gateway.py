"""Sends each request to its function as an AWS HTTP API does, by the routes of `serverless.yml`."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import functions_framework

from .serverless_yml import Events, Route

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Gateway:
    """A WSGI application over one application for each function.

    A request goes to the function whose method and path match; the most literal path wins. Every other request goes
    to the catch-all, also one for a known path with another method. The function gets the path as it is, and no
    `{id}` beside it.
    """

    def __init__(self, events: Events, applications: "Mapping[str, WSGIApplication]") -> None:
        """`applications` has one application for each name in `events.http_functions`."""
        self._applications = applications
        self._catch_all = events.catch_all
        routes = sorted(events.routes, key=_generality)
        self._patterns = [(route.method, _pattern(route.path), route.function) for route in routes]

    def function(self, method: str, path: str) -> str | None:
        """Return the name of the function that answers, None where there is no catch-all either."""
        for wanted, pattern, function in self._patterns:
            if wanted in (method, "ANY") and pattern.fullmatch(path):
                return function
        return self._catch_all

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Pass the request on to its function."""
        # WSGI gives the bytes of a path as Latin-1 characters.
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        name = self.function(environ["REQUEST_METHOD"], path)
        if name is None:
            start_response("404 Not Found", [("Content-Type", "application/json")])
            return [b'{"message":"Not Found"}']
        return self._applications[name](environ, start_response)


def gateway(events: Events, source: Path) -> Gateway:
    """Return the gateway over the functions that the file `source` exports."""
    return Gateway(events, {name: application(name, source) for name in events.http_functions})


def application(function: str, source: Path) -> "WSGIApplication":
    """Return functions-framework's application for one function of `source`."""
    app: WSGIApplication = functions_framework.create_app(function, str(source), "http")  # type: ignore[no-untyped-call]
    return app


def _pattern(path: str) -> re.Pattern[str]:
    """Return what matches `path`: `{name}` is one segment of any text, `{name+}` all that follow."""
    parts = re.split(r"(\{\w+\+?\})", path)
    return re.compile("".join(_part(part) for part in parts), re.DOTALL)


def _part(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    return ".+" if part.endswith("+}") else "[^/]+"


def _generality(route: Route) -> tuple[bool, int, bool]:
    return ("+}" in route.path, route.path.count("{"), route.method == "ANY")
