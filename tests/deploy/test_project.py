"""A project that `sweephand init` wrote, built and deployed from its own folder."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest

import functions
from infra.package.artifact import AWS, build
from infra.package.target import Target
from tests.deploy.conftest import Service

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning")

TOLD_OF_HANDLERS = (
    *("create_job", "create_jobs", "openapi", "tick"),
    *("put_schedule", "patch_schedule", "run_schedule", "backfill_schedule"),
)
"""The functions that get HANDLERS: what judges or runs a payload, and what describes them."""


@pytest.fixture(scope="module")
def own_project(zips: Path, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Return a project with the tick's artifact built from its handlers, and the API's from nobody's."""
    folder = tmp_path_factory.mktemp("own")
    command = [sys.executable, "-m", "sweephand", "init", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    out = folder / "dist/aws"
    build(AWS[0], Target.here(), out, handlers=["handlers"], source=folder)
    shutil.copy(zips / "tick.zip", out)
    return Service(folder)


def test_its_handlers_are_shipped(own_project: Service) -> None:
    """The artifact holds the project's handlers beside Sweephand."""
    with zipfile.ZipFile(own_project.folder / "dist/aws/api.zip") as archive:
        assert archive.read("handlers.py") == (own_project.folder / "handlers.py").read_bytes()
        assert "sweephand/functions/create_job.py" in archive.namelist()


def test_it_deploys(own_project: Service, endpoint: str) -> None:
    """`osls deploy` makes every function, and tells those that check or run jobs of the project's handlers."""
    said = own_project.osls("deploy", AWS_ENDPOINT_URL=endpoint)
    assert "Service deployed" in said
    client = boto3.client(
        "lambda", "eu-west-1", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test"
    )
    made = {each["FunctionName"]: each for each in client.list_functions()["Functions"]}
    assert set(made) == {f"sweephand-dev-{name}" for name in functions.NAMES}
    told = {name for name, each in made.items() if each["Environment"]["Variables"].get("HANDLERS") == "handlers"}
    assert told == {f"sweephand-dev-{name}" for name in TOLD_OF_HANDLERS}
    assert made["sweephand-dev-create_job"]["CodeSize"] == (own_project.folder / "dist/aws/api.zip").stat().st_size
