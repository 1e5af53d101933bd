"""Looks after the processes and the handlers' files while `sweephand dev` runs."""

import time
from collections.abc import Callable

from .services.service import Service, ServiceError
from .serving.function_server import FunctionServer
from .serving.handler_files import HandlerFiles

LOOK = 0.5
"""Seconds between two looks at the handlers' files."""


class Supervisor:
    """Starts a functions' server that ended again, as a cloud does; reports a service that ended, once."""

    def __init__(self, services: list[Service], servers: list[FunctionServer], say: Callable[[str], None]) -> None:
        self._services = list(services)
        self._servers = servers
        self._say = say

    def poll(self) -> None:
        """Restart the servers and report the services that have ended since the last look."""
        for server in self._servers:
            if server.pid is None:
                self._say(f"{server.name} ended with status {server.returncode} and is started again")
                server.spawn()
        for service in [each for each in self._services if each.pid is None]:
            self._say(f"{service.name} ended with status {service.returncode}; its log is {service.log}")
            self._services.remove(service)


class Reloader:
    """Loads the functions again when a handler's file has changed. A running job ends with its old code."""

    def __init__(self, files: HandlerFiles, servers: list[FunctionServer], say: Callable[[str], None]) -> None:
        self._files, self._servers, self._say = files, servers, say
        self._next = time.monotonic()

    def poll(self) -> None:
        """Look at the files every LOOK seconds. Where a changed file cannot be loaded, the old code goes on."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK
        changed = self._files.changed()
        if not changed:
            return
        names = ", ".join(sorted(file.name for file in changed))
        try:
            self._files.check()
        except ServiceError as error:
            self._say(f"{names} changed and is not loaded: {error}")
            return
        for server in self._servers:
            server.reload()
        self._say(f"{names} changed: the handlers are loaded anew")
