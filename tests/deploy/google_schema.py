"""Takes what the Terraform files use out of the real schema of Google's providers, into `google_schema.json`.

    pip download --no-deps cdktn-provider-google==21.1.0 cdktn-provider-google-beta==21.1.0
    python -m tests.deploy.google_schema *.whl

Those packages carry the providers' schema as typed classes (in a `.tgz` of a `.jsii` file, 130 MB), made by their
authors from the providers themselves: hashicorp/google and google-beta 8.7.0.
"""

import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
RESOURCES = {
    "google": (
        "cloud_run_v2_service_iam_member",
        "cloud_scheduler_job",
        "cloudfunctions2_function",
        "logging_metric",
        "monitoring_alert_policy",
        "monitoring_notification_channel",
        "project_iam_custom_role",
        "project_iam_member",
        "project_service",
        "secret_manager_secret",
        "secret_manager_secret_iam_member",
        "service_account",
        "storage_bucket",
        "storage_bucket_iam_member",
        "storage_bucket_object",
    ),
    "google-beta": ("google_api_gateway_api", "google_api_gateway_api_config", "google_api_gateway_gateway"),
}


def main(wheels: list[str]) -> None:
    """Write the schema that the wheels carry."""
    schema: dict[str, Any] = {}
    for wheel in wheels:
        package = "google-beta" if "beta" in Path(wheel).name else "google"
        types = _types(Path(wheel))
        for name in RESOURCES[package]:
            flat = name.replace("_", "")
            # A resource whose own name ends with "config" has an A put behind it.
            [config] = [each for each in types if re.search(rf"\.{flat}\.{flat}a?config$", each, re.IGNORECASE)]
            schema[f"google_{name.removeprefix('google_')}"] = _block(types, config)
    FILE.write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")


def _types(wheel: Path) -> Mapping[str, Any]:
    with zipfile.ZipFile(wheel) as archive:
        inner = next(name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(archive.read(inner))) as package:
            assembly = package.extractfile("package/.jsii")
            assert assembly is not None
            types: Mapping[str, Any] = json.load(assembly)["types"]
            return types


def _block(types: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return each argument as `{required, block}`; a block's own arguments stand in `block`."""
    arguments: dict[str, Any] = {}
    for each in types[name].get("properties", []):
        argument: dict[str, Any] = {"required": not each.get("optional", False)}
        nested = [found for found in _named(each["type"]) if found in types]
        if nested:
            argument["block"] = _block(types, nested[0])
        arguments[re.sub(r"(?<!^)(?=[A-Z])", "_", each["name"]).lower()] = argument
    return arguments


def _named(reference: object) -> list[str]:
    """Return every class that a type mentions."""
    if isinstance(reference, dict):
        own = [reference["fqn"]] if isinstance(reference.get("fqn"), str) else []
        return own + [name for value in reference.values() for name in _named(value)]
    if isinstance(reference, list):
        return [name for value in reference for name in _named(value)]
    return []


if __name__ == "__main__":
    main(sys.argv[1:])
