"""`sweephand package`: builds what a cloud runs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Cloud(StrEnum):
    """Whom the artifacts are for."""

    AWS = "aws"
    GOOGLE = "google"


class Architecture(StrEnum):
    """Lambda's machines."""

    X86_64 = "x86_64"
    ARM64 = "arm64"


def package(
    cloud: Annotated[Cloud, typer.Argument(help="The cloud that will run it.")] = Cloud.AWS,
    *,
    arch: Annotated[
        Architecture, typer.Option(help="Lambda's machine; serverless.yml's `architecture` must say the same.")
    ] = Architecture.X86_64,
    handlers: Annotated[
        str,
        typer.Option(envvar="HANDLERS", help="Modules with your handlers, comma-separated.", show_default=False),
    ] = "",
    requirements: Annotated[
        Path | None, typer.Option(help="A lock file, with hashes, of what your handlers need beside Sweephand.")
    ] = None,
    python: Annotated[str, typer.Option(help="The runtime's minor version.")] = "3.13",
    out: Annotated[Path, typer.Option(help="The zips go to a folder in it that is named after the cloud.")] = Path(
        "dist"
    ),
    here: Annotated[
        bool, typer.Option("--here", hidden=True, help="For this interpreter and machine, as the tests do.")
    ] = False,
) -> None:
    """Build the artifacts from the lock files and your handlers: the same input gives the same bytes.

    The handlers' modules are taken from the current folder. Needs `uv`, and a package index to install from.
    """
    # Only this command builds.
    from ..package import artifact  # noqa: PLC0415
    from ..package.target import Target  # noqa: PLC0415 - likewise

    target = Target.here() if here else Target(python, arch.value)
    modules = tuple(name.strip() for name in handlers.split(",") if name.strip())
    folder = out / cloud.value
    for kind in artifact.AWS if cloud is Cloud.AWS else artifact.GOOGLE:
        typer.echo(str(artifact.build(kind, target, folder, handlers=modules, own_lock=requirements)))
