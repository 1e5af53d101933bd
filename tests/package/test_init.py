"""What `sweephand init` writes, and that it works as it stands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tfparse

from infra.cli import project as serverless
from infra.cli.init import CHANGES
from sweephand.layout import ROOT
from sweephand.version import VERSION
from tests.package.conftest import Wheel

WRITTEN = {"handlers.py", "test_handlers.py", "README.md", ".gitignore", "requirements.txt", "package.json"}


def init(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run `sweephand init` in `folder`."""
    command = [sys.executable, "-m", "sweephand", "init", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def files(folder: Path) -> dict[str, bytes]:
    """Return each file below `folder`."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project as `sweephand init` writes it."""
    folder = tmp_path_factory.mktemp("project")
    done = init(folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_it_writes_a_project(project: Path) -> None:
    """An example with its test, a README of ten lines, serverless.yml with what it includes, and the Terraform."""
    written = files(project)
    assert set(written) >= {*WRITTEN, "serverless.yml"}
    included = re.findall(r"infra/aws/[\w.]+", (project / "serverless.yml").read_text())
    assert set(included) <= set(written)
    assert {path.name for path in (project / "infra/gcp").iterdir()} == {
        path.name for path in (ROOT / "infra/gcp").glob("*.tf")
    }
    assert len((project / "README.md").read_text().splitlines()) <= 12
    assert not [name for name, body in written.items() if b"make " in body or b"shared/" in body]


def test_it_says_what_it_did(tmp_path: Path) -> None:
    """Each file is named, and the next commands are told."""
    done = init(tmp_path, "jobs")
    assert {
        line.removeprefix("wrote jobs/") for line in done.stdout.splitlines() if line.startswith("wrote ")
    } == set(files(tmp_path / "jobs"))
    assert f"Next, in {tmp_path / 'jobs'}:" in done.stdout
    assert "sweephand dev" in done.stdout


def test_the_wheel_writes_the_same(wheel: Wheel, project: Path, tmp_path: Path) -> None:
    """A project made by the installed package has the same files as one made in the repository."""
    assert wheel.sweephand("init", cwd=tmp_path).returncode == 0
    assert files(tmp_path) == files(project)


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    """One file that is there already stops it before anything is written; --force replaces it and says so."""
    (tmp_path / "handlers.py").write_text("mine")
    refused = init(tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == (
        "sweephand: handlers.py: already there, so nothing was written; --force replaces them.\n"
    )
    assert files(tmp_path) == {"handlers.py": b"mine"}
    assert "replaced handlers.py" in init(tmp_path, "--force").stdout
    assert b"async def greet" in files(tmp_path)["handlers.py"]


def test_an_upgrade_leaves_what_is_ones_own(project: Path, tmp_path: Path) -> None:
    """`--upgrade` writes the files of infra/ anew, and no other."""
    init(tmp_path)
    for name in ("handlers.py", "serverless.yml", "infra/aws/roles.yml"):
        (tmp_path / name).write_text("mine")
    assert init(tmp_path, "--upgrade").returncode == 0
    now = files(tmp_path)
    assert (now["handlers.py"], now["serverless.yml"]) == (b"mine", b"mine")
    assert now["infra/aws/roles.yml"] == files(project)["infra/aws/roles.yml"]


def test_its_test_passes(project: Path) -> None:
    """The example's own test passes, with warnings as errors."""
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done = subprocess.run(
        [*command, "--rootdir", str(project), str(project)],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_its_types_hold(project: Path) -> None:
    """Strict mypy finds nothing in the example and its test."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "handlers.py", "test_handlers.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_versions_agree(project: Path) -> None:
    """It asks for this version of Sweephand, and for the Node tools that the repository is tested with."""
    assert f"sweephand[local]=={VERSION}" in (project / "requirements.txt").read_text().splitlines()
    ours, theirs = (json.loads((folder / "package.json").read_text()) for folder in (ROOT, project))
    assert (theirs["dependencies"], theirs["devDependencies"]) == (ours["dependencies"], ours["devDependencies"])


def test_terraform_finds_its_files(project: Path, tmp_path: Path) -> None:
    """The Terraform files, evaluated where they were written, know the routes, the handlers and the version."""
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "infra/gcp"
    values = {"project": "p", "supabase_url": "https://p.supabase.co"}
    (folder / "terraform.tfvars.json").write_text(json.dumps(values))
    blocks = tfparse.load_from_path(str(folder), vars_paths=["terraform.tfvars.json"])["locals"]
    found: dict[str, Any] = {name: value for block in blocks for name, value in block.items()}
    assert found["handlers"] == "handlers"
    assert found["catch_all"] == "not_found"
    assert len(found["routes"]) > 10
    assert f'version = "{VERSION}"' in (project / "infra/gcp/gateway.tf").read_text()


def test_every_change_is_one(project: Path) -> None:
    """Each text that is adapted is there in the repository's file, and its replacement in the project's."""
    for path, changes in CHANGES.items():
        text = (project / path).read_text()
        assert all(new in text for new in changes.values()), path


def test_handlers_are_named_once(project: Path, tmp_path: Path) -> None:
    """The modules of handlers come from the project's serverless.yml; the repository's own names none."""
    assert serverless.handlers(project / "serverless.yml") == "handlers"
    assert serverless.handlers(ROOT / "serverless.yml") == ""
    assert serverless.handlers(tmp_path / "serverless.yml") == ""


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("params: {default: {handlers: 'shop.orders, mails'}}", "shop.orders, mails"),
        ("params: {default: {handlers: \"${env:HANDLERS, 'a,b'}\"}}\nx: !GetAtt y", "a,b"),
        ("params: {default: {handlers: '${file(x.yml):handlers}'}}", ""),
        ("params: {default: {handlers: [a]}}", ""),
        ("params: {default: }", ""),
        ("params: 3", ""),
        ("params: {", ""),
        ("", ""),
    ],
)
def test_handlers_as_they_may_be_written(tmp_path: Path, text: str, modules: str) -> None:
    """Plain text and the default of HANDLERS are read; what only osls can resolve, and a broken file, name none."""
    (tmp_path / "serverless.yml").write_text(text)
    assert serverless.handlers(tmp_path / "serverless.yml") == modules


def test_the_environment_wins(project: Path) -> None:
    """The command line takes the project's handlers, unless HANDLERS is set, if only to nothing."""
    command = [sys.executable, "-m", "sweephand", "doctor", "--json"]
    for env, found in (({}, True), ({"HANDLERS": ""}, False)):
        done = subprocess.run(command, cwd=project, env=_env(env), capture_output=True, text=True, check=False)
        said = [json.loads(line) for line in done.stdout.splitlines()]
        [names] = [each["text"] for each in said if each["about"] == "handlers"]
        assert ("greet" in names) is found


def _env(given: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "HANDLERS"}
    return {**kept, "SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": "x", **given}
