"""What is particular to AWS: the entry points that Lambda calls, and what serverless.yml includes.

Importing the package is the first thing that a new instance does, so what makes its start shorter stands here.
"""

import gc
import os

IN_LAMBDA = "AWS_LAMBDA_RUNTIME_API" in os.environ

if IN_LAMBDA:
    # What imports make stays: looking for garbage in between is a tenth of the start.
    gc.disable()
    # Else pydantic reads every package's metadata in search of plug-ins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def started() -> None:
    """Look for garbage from now on, but not in what the start has made."""
    if IN_LAMBDA:
        gc.freeze()
        gc.enable()
