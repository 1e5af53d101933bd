"""The deployment guide says what is so."""

import re

from sweephand.layout import ROOT
from tests.benchmarks import capacity, costs

GUIDE = (ROOT / "infra/README.md").read_text()


def test_the_costs_are_computed() -> None:
    """The guide's tables of costs are what the script computes."""
    assert costs.idle_day() in GUIDE
    assert costs.million_jobs() in GUIDE


def test_the_capacity_is_computed() -> None:
    """The guide's table of what many drainers would do is what the script computes."""
    assert capacity.table() in GUIDE


def test_parameters_that_the_guide_names_exist() -> None:
    """Each parameter that the guide gives to osls or terraform is one of theirs."""
    serverless = (ROOT / "serverless.yml").read_text() + (ROOT / "infra/aws/environment.yml").read_text()
    for name in re.findall(r'--param="(\w+)=', GUIDE):
        assert re.search(rf"\b{name}\b", serverless), name
    variables = (ROOT / "infra/gcp/variables.tf").read_text()
    for name in re.findall(r"-var (\w+)=", GUIDE):
        assert f'variable "{name}"' in variables, name


def test_commands_that_the_guide_names_exist() -> None:
    """Each `make` target in the guide is the Makefile's."""
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"\bmake ([a-z-]+)\b", GUIDE):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name
