"""What the deployment tests share: the artifacts, built once, and the template that osls makes of them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer

from infra.local.services.services import Services
from sweephand.layout import ROOT
from tests.deploy.lambda_runtime import Function, Machine, unzip

OSLS = ROOT / "node_modules/.bin/osls"
KEY = "a-key-of-the-tests"
PARAMETERS = {
    "supabaseUrl": "https://project.supabase.co",
    "storagePrefixes": "s3://pictures/in/,s3://pictures/out/",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests here more time: the first one waits for the build, on a machine that may be busy."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(400))


class Build:
    """A run of `sweephand package aws --here`, in the background."""

    def __init__(self, project: Path, folder: Path, seed: str) -> None:
        self.folder = folder
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sweephand", "package", "aws", "--here", "--out", folder],
                cwd=project,
                env={
                    **os.environ,
                    "PYTHONHASHSEED": seed,
                    "PYTHONPATH": os.pathsep.join([str(project / "shared"), str(project)]),
                    "TMPDIR": str(folder),
                    "HANDLERS": "",
                },
                stdout=log,
                stderr=log,
            )

    def wait(self) -> str:
        """Return what it printed, once it is done."""
        status = self._process.wait()
        said = (self.folder / "log").read_text()
        assert status == 0, said
        return said

    def end(self) -> None:
        """End it, done or not."""
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what builds are made of, so that both have the same input whatever is edited meanwhile."""
    copy = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "main.py", copy)
    for name in ("functions", "infra", "requirements", "shared"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".terraform"))
    return copy


@pytest.fixture(scope="session")
def first(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return the build that the tests use, done."""
    build = Build(project, tmp_path_factory.mktemp("first"), "1")
    build.wait()
    return build


@pytest.fixture(scope="session")
def second(project: Path, first: Build, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Yield a build of the same input, with another hash seed and in another folder, under way."""
    build = Build(project, tmp_path_factory.mktemp("second-of-two"), "2")
    yield build
    build.end()


@pytest.fixture(scope="session")
def zips(first: Build, second: Build) -> Path:
    """Return the folder with `api.zip` and `tick.zip`; the second build begins, to be done when it is asked for."""
    return first.folder / "aws"


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return what Lambda provides."""
    return Machine.make(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="session")
def tasks(zips: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Return the unpacked artifacts by name."""
    folder = tmp_path_factory.mktemp("tasks")
    return {name: unzip(zips / f"{name}.zip", folder / name) for name in ("api", "tick")}


Boot = Callable[..., Function]


@pytest.fixture(scope="module")
def boot(
    machine: Machine, tasks: Mapping[str, Path], stack: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Boot]:
    """Return what boots a function of an artifact; they end with the module."""
    logs = tmp_path_factory.mktemp("logs")
    settings = {**stack.env, "SWEEPHAND_API_KEYS": KEY, "TICK_BUDGET_SECONDS": "100"}
    with ExitStack() as running:

        def start(artifact: str, handler: str, **env: str) -> Function:
            log = logs / f"{handler}-{len(list(logs.iterdir()))}.log"
            return running.enter_context(Function(machine, tasks[artifact], handler, {**settings, **env}, log))

        yield start


@dataclass(frozen=True, slots=True)
class Service:
    """A folder with `serverless.yml`, what it includes, and the artifacts."""

    folder: Path

    def osls(self, *command: str, parameters: Mapping[str, str] = PARAMETERS, **env: str) -> str:
        """Run osls here and return what it printed."""
        run = subprocess.run(
            [OSLS, *command, *(f"--param={name}={value}" for name, value in parameters.items())],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "eu-west-1",
                "SLS_TELEMETRY_DISABLED": "1",
                **env,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout
        return run.stdout

    def template(self) -> dict[str, Any]:
        """Return the CloudFormation template that was packaged."""
        template: dict[str, Any] = json.loads(self.template_file.read_text())
        return template

    @property
    def template_file(self) -> Path:
        """Where it lies."""
        return self.folder / ".serverless/cloudformation-template-update-stack.json"


@pytest.fixture(scope="session")
def service(zips: Path, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """Return the packaged service."""
    folder = tmp_path_factory.mktemp("service")
    shutil.copy(ROOT / "serverless.yml", folder)
    shutil.copytree(ROOT / "infra/aws", folder / "infra/aws", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(zips, folder / "dist/aws")
    made = Service(folder)
    made.osls("package")
    return made


@pytest.fixture(scope="session")
def template(service: Service) -> dict[str, Any]:
    """Return the CloudFormation template."""
    return service.template()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Serve AWS on loopback, with nothing in it: its state is this process's, whatever server was here before.

    Its ValidateTemplate is told to find nothing: it takes cfn-lint's warnings for errors, and cfn-lint has a test
    of its own here.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr("moto.cloudformation.models.validate_template_cfn_lint", lambda _template: [])
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    with urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")) as answer:
        assert answer.status == 200
    yield f"http://{host}:{port}"
    server.stop()
    patch.undo()
