"""Starts and stops Supabase's front door, the process of `supabase_gateway.py`."""

import json
import os
import sys
from pathlib import Path

from sweephand.layout import ROOT

from .service import Service


class SupabaseGateway(Service):
    """The front door's process."""

    name = "the front door"

    def __init__(  # noqa: PLR0913 - each is one setting, by name
        self,
        *,
        upstream_port: int,
        secret_key: str,
        publishable_key: str,
        jwt_secret: str,
        log: Path,
        port: int | None = None,
    ) -> None:
        """Serve PostgREST at `upstream_port` under the project's two keys."""
        super().__init__(log, port)
        self.settings = {
            "upstream_port": upstream_port,
            "secret_key": secret_key,
            "publishable_key": publishable_key,
            "jwt_secret": jwt_secret,
        }

    @property
    def url(self) -> str:
        """What SUPABASE_URL is."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the front door as a program."""
        return [sys.executable, "-m", f"{__package__}.supabase_gateway"]

    def environment(self) -> dict[str, str]:
        """Return our environment and the settings: a command line would show the keys to all."""
        return {**os.environ, "EDGE": json.dumps({"port": self.port, **self.settings})}

    def working_directory(self) -> Path:
        """Return the project's root, from where it is imported."""
        return ROOT
