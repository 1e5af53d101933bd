"""The artifacts as files."""

import hashlib
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from infra.package import artifact, bytecode, tree
from infra.package.artifact import AWS, GOOGLE, build
from infra.package.errors import PackageError
from infra.package.target import Target
from tests.deploy.conftest import Build

SERVERS = ("functions_framework", "flask", "gunicorn", "uvicorn", "watchdog", "starlette")
HEAVY = ("PIL", "fpdf", "obstore", "markdown_it", "fontTools")


def names(file: Path) -> list[str]:
    """Return the archive's entries."""
    with zipfile.ZipFile(file) as archive:
        return archive.namelist()


def packages(file: Path) -> set[str]:
    """Return the archive's top-level folders and modules."""
    return {name.partition("/")[0].removesuffix(".py") for name in names(file)}


def sha256(file: Path) -> str:
    """Return the file's hash."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_two_builds_are_equal(zips: Path, second: Build) -> None:
    """The same input gives the same bytes, whatever the folder and the interpreter's hash seed."""
    second.wait()
    for name in ("api.zip", "tick.zip"):
        assert sha256(zips / name) == sha256(second.folder / "aws" / name)


def test_the_build_says_what_it_made(first: Build, zips: Path) -> None:
    """Each artifact's hash, bytecode and size beside its goal are printed, and both are within their goals."""
    printed = first.wait()
    for name in ("api.zip", "tick.zip"):
        assert f"sha256 {sha256(zips / name)}" in printed
    assert re.search(r"without bytecode [\d.]+ MB, within the goal of 6 MB", printed)
    assert re.search(r"without bytecode [\d.]+ MB, within the goal of 40 MB", printed)
    assert re.search(r"bytecode of \d\d\d+ modules", printed)


def test_api_carries_no_server_and_no_handler_library(zips: Path) -> None:
    """The API's artifact holds neither development servers nor what handlers work with."""
    assert not packages(zips / "api.zip") & {*SERVERS, *HEAVY}
    assert not any("/fonts/" in name for name in names(zips / "api.zip"))


def test_tick_carries_handlers_and_fonts(zips: Path) -> None:
    """The tick's artifact holds the handlers' libraries, the fonts with their licence, and the Lua script."""
    assert packages(zips / "tick.zip") >= {*HEAVY}
    inside = names(zips / "tick.zip")
    assert "sweephand/handlers/fonts/DejaVuSans.ttf" in inside
    assert "sweephand/handlers/fonts/LICENSE" in inside
    assert not packages(zips / "tick.zip") & set(SERVERS)


@pytest.mark.parametrize("name", ["api.zip", "tick.zip"])
def test_only_what_runs_is_shipped(zips: Path, name: str) -> None:
    """The Lua script is there; tests, the command line, the local emulation and scripts are not."""
    inside = names(zips / name)
    assert "sweephand/adapters/lua/sync_and_claim.lua" in inside
    unwanted = ("tests/", "bin/", *(f"sweephand/infra/{name}/" for name in ("cli", "local", "package", "supabase")))
    assert not [entry for entry in inside if entry.startswith(unwanted)]


@pytest.mark.parametrize("name", ["api.zip", "tick.zip"])
def test_nothing_tells_of_the_machine(zips: Path, name: str) -> None:
    """All entries bear the same time and mode, and no bytecode names the folder that it was compiled in."""
    with zipfile.ZipFile(zips / name) as archive:
        assert {(entry.date_time, entry.external_attr) for entry in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 0o100644 << 16)
        }
        compiled = [entry for entry in archive.namelist() if entry.endswith(".pyc")]
        assert compiled
        assert not [entry for entry in compiled if b"sweephand-package-" in archive.read(entry)]


def test_bytecode_is_never_checked(zips: Path) -> None:
    """Bytecode is of PEP 552's unchecked kind: loading it compares no time and no hash."""
    with zipfile.ZipFile(zips / "api.zip") as archive:
        compiled = next(entry for entry in archive.namelist() if entry.endswith(".pyc"))
        assert int.from_bytes(archive.read(compiled)[4:8], "little") == 0b01


def test_a_heavy_import_beside_a_payload_fails_by_name(tmp_path: Path) -> None:
    """A handler module that imports a library at its top, which the API lacks, fails the build and is named."""
    (tmp_path / "thumbs.py").write_text("from pydantic import BaseModel\nfrom PIL import Image\n")
    with pytest.raises(PackageError, match=r"HANDLERS: thumbs imports PIL \(thumbs.py:2\)"):
        build(AWS[0], Target.here(), tmp_path / "out", handlers=["thumbs"], source=tmp_path)
    assert not (tmp_path / "out").exists()


def test_users_handlers_are_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package named in HANDLERS goes into the artifact whole, data files included."""
    monkeypatch.setattr(bytecode, "compile_folder", lambda *_: 0)
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "orders.py").write_text("VALUE = 1\n")
    (package / "prices.csv").write_text("a,1\n")
    built = build(AWS[0], Target.here(), tmp_path / "out", handlers=["shop.orders"], source=tmp_path)
    assert {"shop/__init__.py", "shop/orders.py", "shop/prices.csv"} <= set(names(built.file))
    assert "no bytecode: no python" in str(built)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("nowhere", "there is no module nowhere"),
        ("main", "would replace a part of Sweephand"),
        ("no-name", "is no module's name"),
    ],
)
def test_handlers_that_cannot_be(tmp_path: Path, module: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is missing, misnamed, or takes a name of ours fails the build in plain words."""
    monkeypatch.setattr(tree, "install", lambda *_: None)
    monkeypatch.setattr(artifact, "BUILT_IN", ())
    (tmp_path / "main.py").touch()
    with pytest.raises(PackageError, match=said):
        build(AWS[0], Target.here(), tmp_path / "out", handlers=[module], source=tmp_path)


def test_a_missing_interpreter_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no interpreter of the target's version is at hand, none is named, and others do not stand in."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert Target("3.99", "arm64").interpreter() is None
    assert Target.here().interpreter()


def test_targets_choose_their_wheels() -> None:
    """Both of Lambda's architectures get wheels of their own, and nothing is ever built from source."""
    for arch, platform in (("x86_64", "x86_64-manylinux"), ("arm64", "aarch64-manylinux")):
        options = Target("3.13", arch).install_options()
        assert any(option.startswith(platform) for option in options)
        assert "--only-binary" in options


LOCKED = "cowsay==6.1 \\\n    --hash=sha256:274b1e6fc1b966d53976333eb90ac94cb07a450a700b455af9fbdf882244b30a\n"


def test_own_packages_go_where_handlers_run(tmp_path: Path) -> None:
    """A project's own lock is part of the artifact that runs handlers, each package once, and of no other."""
    lock = tmp_path / "own.txt"
    pydantic = next(
        text for text in re.split(r"\n(?=\S)", GOOGLE[1].requirements.read_text()) if text.startswith("pydantic==")
    )
    lock.write_text(f"# mine\n{LOCKED}{pydantic}\n")
    listed = {}
    for kind in GOOGLE:
        built = build(kind, Target.here(), tmp_path / "out", own_lock=lock)
        with zipfile.ZipFile(built.file) as archive:
            listed[kind.name] = archive.read("requirements.txt").decode()
    assert listed["tick"] == GOOGLE[1].requirements.read_text() + LOCKED
    assert listed["api"] == GOOGLE[0].requirements.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cowsay==6.1\n", "cowsay==6.1 lacks a version or hashes. Make it with `uv pip compile"),
        ("cowsay>=6 --hash=sha256:00\n", "cowsay>=6 lacks a version or hashes"),
        (
            "pydantic==1.0 --hash=sha256:00\n",
            r"pydantic==1.0, but Sweephand has 2[\d.]+. Make it with `uv pip compile",
        ),
        (None, "own.txt: No such file"),
    ],
)
def test_own_packages_that_do_not_fit(tmp_path: Path, text: str | None, said: str) -> None:
    """A lock without versions or hashes, of another version than ours, or that is missing, fails the build."""
    lock = tmp_path / "own.txt"
    if text is not None:
        lock.write_text(text)
    with pytest.raises(PackageError, match=said):
        build(GOOGLE[1], Target.here(), tmp_path / "out", own_lock=lock)
    assert not (tmp_path / "out").exists()
