"""Routes and functions are written in serverless.yml; everything else that names them agrees with it."""

import re

import functions
import main
from infra.local.serving import serverless_yml
from sweephand import app
from sweephand.http.openapi import document
from sweephand.http.routes import ROUTES
from sweephand.layout import ROOT

CELL = re.compile(r"`(GET|HEAD|POST|PUT|PATCH|DELETE) (/[^\s`?]*)[^`]*`")
"""A route as a table of the README writes it, with or without a query or a body behind it."""
EVENTS = serverless_yml.read()
DEPLOYED = {(each.method, each.path): each.function for each in EVENTS.routes if each.method != "HEAD"}


def test_main_exports_every_function() -> None:
    """main.py exports each function of serverless.yml, and no other; each is a function of its own file."""
    names = {*EVENTS.http_functions, *(schedule.function for schedule in EVENTS.schedules)}
    assert set(functions.NAMES) == names
    assert len(functions.NAMES) == len(names)
    for name in names:
        assert getattr(main, name).__name__ == name
        assert getattr(main, name).__module__ == f"functions.{name}"
    files = {file.stem for file in (ROOT / "functions").glob("*.py")} - {"__init__"}
    assert files == names


def test_the_openapi_document_has_the_routes() -> None:
    """The OpenAPI document describes the deployed routes, each by the name of its function."""
    assert dict(ROUTES) == DEPLOYED
    described = {
        (method.upper(), path): operation["operationId"]
        for path, operations in document({})["paths"].items()
        for method, operation in operations.items()
    }
    assert described == DEPLOYED


def test_what_takes_get_takes_head() -> None:
    """Each route of GET has one of HEAD to the same function, and HEAD has no other."""
    heads = {each.path: each.function for each in EVENTS.routes if each.method == "HEAD"}
    assert heads == {path: function for (method, path), function in DEPLOYED.items() if method == "GET"}


def test_the_readme_lists_the_routes() -> None:
    """The README's tables name the deployed routes, all of them and no other."""
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.lstrip().startswith("|")]
    listed = {(method, path) for row in rows for method, path in CELL.findall(row)}
    assert listed == set(DEPLOYED)


def test_everything_else_is_ours_too() -> None:
    """A request that no route takes reaches not_found; on both clouds the schedule starts tick every minute."""
    assert EVENTS.catch_all == "not_found"
    assert [(each.function, each.seconds) for each in EVENTS.schedules] == [("tick", app.SCHEDULE)]
    assert app.SCHEDULE == 60
    assert '"* * * * *"' in (ROOT / "infra/gcp/scheduler.tf").read_text()


def test_google_reads_the_same_list() -> None:
    """The Terraform files take functions and routes from serverless.yml; test_google.py evaluates them."""
    assert 'yamldecode(file("${path.module}/../../serverless.yml"))' in (ROOT / "infra/gcp/main.tf").read_text()
