"""What the repository does so that nothing comes in by the back door, and what it says of its settings."""

import json
import re
from pathlib import Path

from sweephand import settings as settings_module

ROOT = Path(__file__).parents[2]
USES = re.compile(r"uses:\s*(\S+)(.*)")
NOT_OF_A_DEPLOYMENT = {"PORT", "TICK_SECONDS", "DATA_DIR", "NO_PROXY"}
"""Settings that only `make dev` reads, and NO_PROXY, which the machine's own environment holds."""


def test_actions_are_pinned_by_commit() -> None:
    """A tag of an action can be moved to another commit, a commit cannot; its release stands beside it."""
    found = [use for file in (ROOT / ".github").rglob("*.yml") for use in USES.findall(file.read_text())]
    assert found
    for action, said in found:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"\s*# v\d+\.\d+\.\d+", said), action


def test_npm_runs_no_script_of_a_package() -> None:
    """Installing the Node tools runs nothing of theirs."""
    assert "ignore-scripts=true" in (ROOT / ".npmrc").read_text().splitlines()
    ours = set(json.loads((ROOT / "package.json").read_text())["dependencies"])
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert not [name for name in ours if packages[f"node_modules/{name}"].get("hasInstallScript")]


def test_env_example_names_every_setting() -> None:
    """The example has each setting of docs/settings.md and no other, and its values can be read."""
    lines = [line for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    named = dict(line.split("=", 1) for line in lines)
    table = (ROOT / "docs/settings.md").read_text()
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert set(named) == {name for row in rows for name in re.findall(r"`(\w+)`", row)} - NOT_OF_A_DEPLOYMENT
    assert settings_module.read({**named, "SWEEPHAND_API_KEYS": ""}).store == "rest"
