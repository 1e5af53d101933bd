"""What a newcomer meets in the first hour: odd folders, a proxy, own handlers that break, print and take time."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from PIL import Image

from infra.local.dev import run
from infra.local.services.postgres import installation
from infra.local.services.service import free_port
from tests.e2e.running_dev import EMAIL_JOB, Dev, running

CHATTY = Path(__file__).with_name("chatty.py")
SENDER = """"O'Hara & Söhne" <jobs@example.com>"""
PROXY = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"), "http://127.0.0.1:9")


def _folder(path: Path) -> Path:
    """Return a folder with a newcomer's handlers in it."""
    path.mkdir(parents=True)
    shutil.copy(CHATTY, path / "chatty.py")
    return path


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Yield an emulation in a folder with a space and an umlaut, behind a proxy that is not there."""
    cwd = _folder(tmp_path_factory.mktemp("first") / "Größe 1")
    settings = {**PROXY, "HANDLERS": "chatty", "MAIL_FROM": SENDER}
    with running(Dev(cwd / "data", "0.5", cwd=cwd, **settings)) as dev:
        yield dev


def test_mail_goes_out(dev: Dev) -> None:
    """Neither the folder's name nor the proxy keeps a mail from the outbox."""
    job = dev.ended(dev.post(EMAIL_JOB))
    assert job["status"] == "completed", job
    assert len(list((dev.data / "outbox").glob(f"{job['id']}*.eml"))) == 1
    assert not (dev.cwd / "data" / "outbox%").exists()


def test_objects_are_found(dev: Dev) -> None:
    """A payload names objects by the folder's own name, as it is."""
    objects = dev.data / "objects"
    Image.new("RGB", (80, 60), "teal").save(objects / "in.png")
    payload = {"source": f"file://{objects}/in.png", "target": f"file://{objects}/aus 1.webp", "width": 20}
    assert dev.ended(dev.post({"type": "resize_image", "payload": payload}))["status"] == "completed"
    assert (objects / "aus 1.webp").exists()


def test_the_pasted_curl_passes_the_proxy_by(dev: Dev) -> None:
    """The greeting's curl works in the shell that has the proxy."""
    said = dev.said()
    curl = said[said.index("  curl ") :].split("\n\n")[0]
    done = subprocess.run(
        ["sh", "-c", curl], env={**os.environ, **PROXY}, capture_output=True, text=True, check=True
    )
    assert '"pending"' in done.stdout


def test_the_command_line_passes_the_proxy_by(dev: Dev, monkeypatch: pytest.MonkeyPatch) -> None:
    """`jobs` and `tick` reach this machine from the shell that has the proxy."""
    for name, value in PROXY.items():
        monkeypatch.setenv(name, value)
    assert dev.cli("jobs", "list").returncode == 0
    assert dev.cli("tick").returncode == 0


def test_the_env_file_is_a_round_trip(dev: Dev) -> None:
    """A shell and the command line read the same from it: quotes, HANDLERS and all."""
    script = 'set -a; . "$1"; exec env -0'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(dev.data / "env")],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    read = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert (read["MAIL_FROM"], read["HANDLERS"]) == (SENDER, "chatty")
    assert read["MAIL_URL"] == f"file://{dev.data}/outbox"
    told = dev.cli("doctor")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "talk_process" in told.stdout


def test_psql_and_redis_cli_take_its_urls(dev: Dev) -> None:
    """`psql "$DATABASE_URL"` and `redis-cli -u "$REDIS_URL"` work after the file was sourced."""
    psql = installation() / "bin" / "psql"
    script = 'set -a; . "$1"; "$2" "$DATABASE_URL" -Atc "select count(*) >= 0 from sweephand.jobs"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(dev.data / "env"), str(psql)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "t\n", done.stderr
    url = next(line for line in (dev.data / "env").read_text("utf-8").splitlines() if line.startswith("REDIS_URL="))
    # redis-cli sends the name that stands before the colon, an empty one too, which is no user.
    assert urlsplit(url.partition("=")[2]).username == "default"
    if client := shutil.which("redis-cli"):
        script = 'set -a; . "$1"; "$2" -u "$REDIS_URL" ping'
        answer = ["sh", "-c", script, "sh", str(dev.data / "env"), client]
        assert subprocess.run(answer, capture_output=True, text=True, check=False).stdout == "PONG\n"


@pytest.mark.parametrize("kind", ["talk", "talk_thread", "talk_process"])
def test_what_a_handler_prints_and_logs_is_shown(dev: Dev, kind: str) -> None:
    """Each line stands in the terminal under its job's id, the unfinished last one too, and without escapes."""
    job = dev.post({"type": kind, "payload": {"word": kind}})
    assert dev.ended(job)["status"] == "completed"
    said = dev.wait_for(f"job {job}: last {kind}")
    shown = [line.partition(f"job {job}: ")[2] for line in said.splitlines() if f"job {job}: " in line]
    assert shown == [
        f"printed {kind}",
        f"INFO sweephand.handler.{kind}: logged {kind}",
        f"INFO my.own: by itself {kind}",
        f"held {kind}\\x1b[2J",
        f"last {kind}",
    ]


def test_handlers_reload_when_their_file_changes(dev: Dev) -> None:
    """New code is run from its saving on; code that breaks is told, and what ran before goes on."""
    file = dev.cwd / "chatty.py"
    text = file.read_text()
    file.write_text(text.replace('SAYS = "first"', 'SAYS = "the second"'))
    dev.wait_for("chatty.py changed: the handlers are loaded anew")
    _until_it_says(dev, "the second")
    file.write_text("import no_such_library\n" + text)
    dev.wait_for("chatty.py changed and is not loaded: HANDLERS: chatty cannot be imported: ModuleNotFoundError")
    _until_it_says(dev, "the second")
    file.write_text(text)
    _until_it_says(dev, "first")


def _until_it_says(dev: Dev, word: str) -> None:
    until = time.monotonic() + 20
    while (said := dev.ended(dev.post({"type": "talk", "payload": {}}))["result"]) != word:
        assert time.monotonic() < until, f"it says {said}"


@pytest.mark.parametrize("kind", ["nap", "nap_thread"])
def test_ctrl_c_lets_a_job_end(tmp_path: Path, kind: str) -> None:
    """One Ctrl-C says which job it waits for, and how long at most; the job completes, and nothing is left."""
    cwd = _folder(tmp_path / "cwd")
    with running(Dev(tmp_path / "data", "60", cwd=cwd, HANDLERS="chatty")) as dev:
        job = dev.post({"type": kind, "payload": {"seconds": 4, "file": str(tmp_path / "woke")}})
        in_progress(dev, job)
        dev.process.send_signal(signal.SIGINT)
        said = dev.wait_for("Ctrl-C again ends at once")
        assert f"job {job} runs still: waiting at most " in said
        assert dev.process.wait(20) == 0
        assert (tmp_path / "woke").exists()
        assert "tick: 1 started, 1 completed" in dev.said()


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    """Two of them end a job with its process: a crash is noted, its lease is free, and the next start runs it."""
    cwd = _folder(tmp_path / "cwd")
    with running(Dev(tmp_path / "data", "60", cwd=cwd, HANDLERS="chatty")) as dev:
        job = dev.post({"type": "nap_thread", "payload": {"seconds": 40, "file": str(tmp_path / "woke")}})
        in_progress(dev, job)
        family = psutil.Process(dev.process.pid).children(recursive=True)
        dev.process.send_signal(signal.SIGINT)
        dev.wait_for("Ctrl-C again ends at once")
        began = time.monotonic()
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(20) == 0
        assert time.monotonic() - began < 5
        assert f"job {job} runs no more: counted as a crash" in dev.said()
        assert not [process for process in family if process.is_running()]
    with running(Dev(tmp_path / "data", "1", cwd=cwd, HANDLERS="chatty")) as dev:
        done = dev.ended(job)
    assert (done["status"], done["result"]) == ("completed", {"attempt": 2})
    assert [error["kind"] for error in done["errors"]] == ["crash"]


def in_progress(dev: Dev, job: str) -> None:
    """Wait until a job runs, at most 20 s."""
    until = time.monotonic() + 20
    while dev.http.get(f"/jobs/{job}").json()["status"] != "in_progress":
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"HANDLERS": "broken"}, "HANDLERS: broken cannot be imported: ZeroDivisionError: division by zero"),
        ({"HANDLERS": "no_such_module"}, "HANDLERS: No module named 'no_such_module'"),
        ({"TICK_BUDGET_SECONDS": "3"}, "s does not fit a tick of 3 s"),
        ({"ASYNC_SLOTS": "many"}, "ASYNC_SLOTS must be a number, not 'many'"),
        ({"MAIL_URL": "pigeon://x"}, "MAIL_URL must start with"),
        ({"STORAGE_PREFIXES": "http://x"}, "STORAGE_PREFIXES: "),
        ({"HTTP_ALLOW": "127.1"}, "HTTP_ALLOW: '127.1' is neither a host name nor"),
        ({"WEBHOOK_SIGNING_KEYS": "secret"}, "WEBHOOK_SIGNING_KEYS: entry 1 is neither whsec_… nor host=whsec_…"),
        ({"WAKE_URL": "pigeon://x"}, "WAKE_URL must be"),
        ({"MAIL_ULR": "smtp://x"}, "MAIL_ULR is no setting: is MAIL_URL meant?"),
        ({"HANDLER": "chatty"}, "HANDLER is no setting: is HANDLERS meant?"),
        ({"DATA_DIR": "a%b"}, "DATA_DIR: the path has the character '%'"),
        ({"DATA_DIR": "a,b"}, "DATA_DIR: the path has the character ','"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_refused_at_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
    told: str,
) -> None:
    """One line that names the setting or the file, within seconds, with status 1 and nothing started."""
    (tmp_path / "broken.py").write_text("\n1 / 0\n")
    for name, value in {"PORT": str(free_port()), "DATA_DIR": str(tmp_path / "data"), **settings}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    mask = os.umask(0o022)
    try:
        status = run()
    finally:
        os.umask(mask)
    assert time.monotonic() - began < 10  # 1 s on a machine that has nothing else to do
    printed = capsys.readouterr()
    assert (status, printed.out) == (1, "")
    assert told in printed.err
    assert printed.err.count("\n") == 1
    if settings.get("HANDLERS") == "broken":
        assert f"({tmp_path}/broken.py:2)" in printed.err
    assert not (tmp_path / "data" / "postgres").exists()


def test_it_stops_and_leaves_nothing(dev: Dev) -> None:
    """SIGTERM ends it with status 0 and leaves no process, whatever its folder is called."""
    assert dev.stop() == set()
