"""`sweephand dev` as a person meets it: one command, one address, one Ctrl-C."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from infra.local.services.service import free_port
from infra.local.services.services import Services
from tests.local.process_tree import descendants, wait_until_gone

ROOT = Path(__file__).parents[2]
RESERVED = ("SUPABASE_URL", "SUPABASE_KEY", "REDIS_URL", "SWEEPHAND_API_KEYS", "SWEEPHAND_API_KEY", "MAIL_URL")
"""Variables of the shell that starts the tests that would change what is tested."""


@dataclass(frozen=True)
class Dev:
    """A running emulation: its process, where it listens, its data, and what it said until it was up."""

    process: subprocess.Popen[str]
    port: int
    data: Path
    said: str

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.port}"

    def says(self, word: str) -> str:
        """Return the next line with `word` in it."""
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if word in line)


def _command(port: int, data: Path) -> tuple[list[str], dict[str, str]]:
    clean = {name: value for name, value in os.environ.items() if name not in RESERVED}
    env = {**clean, "PORT": str(port), "TICK_SECONDS": "0.2", "DATA_DIR": str(data)}
    return [sys.executable, "-m", "tests.local.run_dev"], env


def _start(data: Path, **extra: str) -> Dev:
    port = free_port()
    command, env = _command(port, data)
    env |= extra
    process = subprocess.Popen(
        command,
        env=env,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("Ctrl-C"):
            return Dev(process, port, data, "".join(said))
    raise AssertionError("".join(said))


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Yield a running emulation."""
    running = _start(tmp_path_factory.mktemp("dev") / "data")
    yield running
    running.process.terminate()
    running.process.communicate()


def _refused(port: int, data: Path) -> subprocess.CompletedProcess[str]:
    command, env = _command(port, data)
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)


def test_functions_are_served_with_their_environment(dev: Dev) -> None:
    """The gateway listens on PORT, and its functions know the services and the key."""
    answer = httpx.get(dev.url + "/jobs").json()
    assert answer["function"] == "list_jobs"
    assert answer["env"]["SWEEPHAND_API_KEYS"] == "dev-key"
    assert all(answer["env"].values())


def test_it_says_how_to_post_a_job(dev: Dev) -> None:
    """The greeting's curl is a command that works when pasted."""
    pasted = dev.said[dev.said.index("  curl ") :].partition("\n\n")[0]
    done = subprocess.run(["sh", "-c", f"{pasted} -s"], capture_output=True, text=True, check=True)
    assert '"create_job"' in done.stdout


def test_env_file_is_private_and_can_be_sourced(dev: Dev) -> None:
    """DATA_DIR/env has what the CLI, psql and redis-cli need, for the owner only."""
    path = dev.data / "env"
    assert path.stat().st_mode & 0o777 == 0o600
    values = dict(line.split("=", 1) for line in shlex.split(path.read_text()))
    wanted = "SUPABASE_URL SUPABASE_KEY REDIS_URL DATABASE_URL MAIL_URL MAIL_FROM STORAGE_PREFIXES"
    assert {*wanted.split(), "SWEEPHAND_URL", "SWEEPHAND_API_KEY"} <= values.keys()
    assert values["SWEEPHAND_URL"] == dev.url


def test_what_lies_in_the_folder_is_the_owners_alone(dev: Dev) -> None:
    """Nothing below DATA_DIR can be read by others: logs, mail, pictures, the database."""
    open_to_others = [path for path in dev.data.iterdir() if path.stat().st_mode & 0o077]
    logs = [path for path in (dev.data / "logs").iterdir() if path.stat().st_mode & 0o077]
    assert (open_to_others, logs) == ([], [])
    assert dev.data.stat().st_mode & 0o077 == (0o011 if os.geteuid() == 0 else 0)


def test_ticks_come_on_and_outlive_the_tick_process(dev: Dev) -> None:
    """Ticks keep coming after the process that served them has retired itself."""
    for _ in range(8):
        assert "1 completed" in dev.says("tick: ")


def test_tick_is_not_public(dev: Dev) -> None:
    """No request to the gateway reaches tick."""
    assert httpx.post(dev.url + "/tick").json()["function"] == "not_found"


def test_taken_port_is_one_line(dev: Dev, tmp_path: Path) -> None:
    """A port in use is told in one line, before anything is started or written."""
    done = _refused(dev.port, tmp_path / "data")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"sweephand: port {dev.port} is in use: set PORT to another one\n"
    assert not (tmp_path / "data").exists()


def test_second_instance_is_one_line(dev: Dev) -> None:
    """A second one on the same data is told in one line, with the process that has it."""
    done = _refused(free_port(), dev.data)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"in use by process {dev.process.pid}" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("name", "value"), [("PORT", "http"), ("PORT", "65536"), ("TICK_SECONDS", "0")])
def test_value_without_sense_is_one_line(tmp_path: Path, name: str, value: str) -> None:
    """A setting that cannot be is told by its name."""
    command, env = _command(free_port(), tmp_path)
    done = subprocess.run(command, env={**env, name: value}, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"sweephand: {name} is a number")


def test_named_services_are_used_in_place_of_local_ones(services: Services, tmp_path: Path) -> None:
    """With SUPABASE_URL, SUPABASE_KEY and REDIS_URL set nothing but the functions is started here."""
    named = {name: services.env[name] for name in ("SUPABASE_URL", "SUPABASE_KEY", "REDIS_URL")}
    dev = _start(tmp_path / "data", **named)
    assert not (dev.data / "postgres").exists()
    assert not (dev.data / "valkey").exists()
    seen = httpx.get(dev.url + "/jobs").json()["env"]
    assert seen["SWEEPHAND_API_KEYS"] != "dev-key"
    assert f"API key   {seen['SWEEPHAND_API_KEYS']}\n" in dev.said
    assert (seen["SUPABASE_URL"], seen["REDIS_URL"]) == (named["SUPABASE_URL"], named["REDIS_URL"])
    dev.process.terminate()
    dev.process.communicate()
    assert dev.process.returncode == 0
    assert services.valkey.ready()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM, sent to the process group as a terminal does, leave no process and free the port."""
    dev = _start(tmp_path / "data")
    started = descendants(dev.process.pid)
    assert len(started) > 8
    os.killpg(dev.process.pid, number)
    dev.process.communicate(timeout=20)
    assert dev.process.returncode == 0
    assert wait_until_gone(started, 1) == {}
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", dev.port)) != 0
    assert "shut down" in (dev.data / "logs" / "postgres.log").read_text().splitlines()[-1]


def test_signal_while_starting_stops_what_was_started(tmp_path: Path) -> None:
    """Ctrl-C in the first second is as clean as a late one."""
    command, env = _command(free_port(), tmp_path / "data")
    with subprocess.Popen(command, env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert "PostgreSQL" in process.stdout.readline()
        started = descendants(process.pid)
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert wait_until_gone(started, 1) == {}


def test_sigkill_leaves_nothing(tmp_path: Path) -> None:
    """Even a killed emulation takes its processes along, and the next start finds its data."""
    dev = _start(tmp_path / "data")
    started = descendants(dev.process.pid)
    dev.process.kill()
    dev.process.communicate()
    assert wait_until_gone(started) == {}
    again = _start(tmp_path / "data")
    again.process.terminate()
    again.process.communicate()
    assert again.process.returncode == 0
