"""Starts and stops the Supabase gateway, which is the program `supabase_gateway.py`."""

import json
import os
import sys
from pathlib import Path

from .service import Service


class SupabaseGateway(Service):
    """The process of the Supabase gateway."""

    name = "the Supabase gateway"

    def __init__(  # noqa: PLR0913 - each is one setting, by name
        self,
        *,
        postgrest_port: int,
        secret_key: str,
        publishable_key: str,
        jwt_secret: str,
        log: Path,
        port: int | None = None,
    ) -> None:
        """Serve the PostgREST at `postgrest_port` under the project's two keys."""
        super().__init__(log, port)
        self.settings = {
            "postgrest_port": postgrest_port,
            "secret_key": secret_key,
            "publishable_key": publishable_key,
            "jwt_secret": jwt_secret,
        }

    @property
    def url(self) -> str:
        """The value of SUPABASE_URL."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the gateway as a program, which imports nothing from the current folder."""
        return [sys.executable, "-P", "-m", f"{__package__}.supabase_gateway"]

    def environment(self) -> dict[str, str]:
        """Return our environment and the settings: a command line would show the keys to every user."""
        return {**os.environ, "SUPABASE_GATEWAY": json.dumps({"port": self.port, **self.settings})}
