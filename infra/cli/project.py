"""What a project's `serverless.yml` tells the command line: the modules of handlers, written there once."""

import re
from pathlib import Path

import yaml

FILE = Path("serverless.yml")
_DEFAULT = re.compile(r"\$\{env:HANDLERS, '([^']*)'\}")


def handlers(file: Path = FILE) -> str:
    """Return the modules of handlers as HANDLERS has them: `params.default.handlers` of the current folder's file.

    Of `${env:HANDLERS, 'handlers'}` it is the default. Empty where there is no such file, or no such parameter, or
    where another variable stands for it.
    """
    try:
        # Only this one block: the rest has tags that are CloudFormation's.
        text = file.read_text("utf-8")
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    node: yaml.Node | None = document
    for key in ("params", "default", "handlers"):
        found = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for name, value in found if name.value == key), None)
    said = str(node.value) if isinstance(node, yaml.ScalarNode) else ""
    default = _DEFAULT.fullmatch(said)
    return default[1] if default else "" if "${" in said else said
