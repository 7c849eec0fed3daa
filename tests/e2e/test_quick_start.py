"""The quick start, typed as its page says, on a real `airflow standalone`: from the wheel to loaded rows.

Beside the page's DAG there is one that is scheduled on the asset of its destination: each load's event starts it.

The environment gives only what a reader has or may choose: `uv`, the place of the wheel, pinned versions, free ports.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import termios
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

FIVE_MINUTES = 300.0
_BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_REPEAT = re.compile(r"# Repeat this until it says: (\w+)(?: \((\d) times\))?\n")
_DONE = "quick-start-block-done"
# Not on the page: a DAG that each load's event starts, and that notes what the event says.
_FOLLOWING = """
import os
from datetime import datetime

from airflow.sdk import DAG, task
from airflow_consent_retl.operators import destination_asset

with DAG(
    "following",
    schedule=[destination_asset("crm_table")],
    start_date=datetime(2026, 1, 1),
    is_paused_upon_creation=False,
):

    @task
    def note(triggering_asset_events=None):
        with open(os.environ["QUICK_START"] + "/events.txt", "a") as file:
            for events in triggering_asset_events.values():
                for event in events:
                    file.write(f"accepted {event.extra['accepted']}, removed {event.extra['removed']}\\n")

    note()
"""


class Shell:
    """A shell as in a terminal: with job control, and in a session of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        # Job control needs a terminal, which bash looks for at stderr; commands and what they print go through pipes.
        self._terminal, inside = pty.openpty()
        self._mark = f"QUICK_START={folder}".encode()

        def enter_terminal() -> None:
            fcntl.ioctl(inside, termios.TIOCSCTTY, 0)
            # A program that runs in the background hands down that it ignores this signal; a terminal does not.
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        self._process = subprocess.Popen(
            ["bash", "-em"],
            cwd=folder,
            env={**environment, "QUICK_START": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=inside,
            text=True,
            start_new_session=True,
            preexec_fn=enter_terminal,  # noqa: PLW1509 - no thread runs here yet
        )
        os.close(inside)

    def type(self, commands: str) -> str:
        """Run commands to their end, and return what they print."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{\n{commands}\n}} 2>&1\necho; echo {_DONE}\n")
        self._process.stdin.flush()
        printed = ""
        for line in self._process.stdout:
            if line.strip() == _DONE:
                return printed
            printed += line
        raise AssertionError(f"{commands}\nfailed:\n{printed}")

    def processes(self) -> list[int]:
        """Return everything that was started in the shell and still runs: all of it inherits the environment."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            # A process of somebody else, or one that has just ended, cannot be read.
            with suppress(OSError):
                if self._mark in (folder / "environ").read_bytes() and int(folder.name) != self._process.pid:
                    found.append(int(folder.name))
        return found

    def close(self) -> None:
        for process in [*self.processes(), self._process.pid]:
            # It may have ended just now.
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        os.close(self._terminal)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def wheel(tmp_path: Path, repo: Path) -> Path:
    folder = tmp_path / "wheel"
    subprocess.run([find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", folder, repo], check=True)
    return folder


@pytest.fixture
def api_port() -> int:
    return free_port()


@pytest.fixture
def shell(tmp_path: Path, repo: Path, wheel: Path, api_port: int) -> Iterator[Shell]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON", "VIRTUAL_ENV"))
    }
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "uv").symlink_to(find_uv_bin())
    shell = Shell(
        tmp_path,
        {
            **inherited,
            "PATH": os.pathsep.join((str(commands), inherited["PATH"])),
            "UV_FIND_LINKS": str(wheel),
            "UV_CONSTRAINT": str(repo / "constraints.txt"),
            "AIRFLOW__API__PORT": str(api_port),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{api_port}/execution/",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        },
    )
    try:
        yield shell
    finally:
        shell.close()


def follow_loads(folder: Path) -> None:
    """Write the DAG that is scheduled on the asset of the page's destination."""
    dags = folder / "consent-quick-start" / "airflow" / "dags"
    dags.mkdir(parents=True)
    (dags / "following.py").write_text(_FOLLOWING)


def events_of(shell: Shell, folder: Path, *, runs: int, started: float) -> list[str]:
    """Return what the events said by which the scheduler started the following DAG, when it ran so many times."""
    printed = ""
    while printed.count("success") < runs:
        assert time.monotonic() - started < allowed_s(), printed
        assert "failed" not in printed, printed
        time.sleep(2)
        printed = shell.type("airflow dags list-runs following")
    return (folder / "events.txt").read_text().splitlines()


def allowed_s() -> float:
    """Return five minutes of a machine of one's own: more where others use its processors too."""
    return FIVE_MINUTES * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def health(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/monitor/health") as answer:
        return dict(json.load(answer))


@pytest.mark.long
@pytest.mark.timeout(6 * FIVE_MINUTES)
def test_the_commands_of_the_quick_start_lead_from_the_wheel_to_loaded_rows_in_five_minutes(
    repo: Path, shell: Shell, api_port: int, tmp_path: Path
) -> None:
    started, printed = time.monotonic(), ""
    healthy: dict[str, Any] = {}
    for language, text in _BLOCK.findall((repo / "docs" / "quick-start.md").read_text()):
        if language == "text":
            assert printed.strip() == text.strip()
            continue
        until = _REPEAT.match(text)
        if "dags/customers.py" in text:
            follow_loads(tmp_path)
        elif text.startswith("kill"):
            # One run for each load, with the counts of its event.
            events = events_of(shell, tmp_path, runs=2, started=started)
            assert events == ["accepted 400, removed 0", "accepted 0, removed 1"]
        printed = shell.type(text)
        while until and printed.count(until[1]) < int(until[2] or 1):
            assert time.monotonic() - started < allowed_s(), printed
            assert "failed" not in printed, printed
            time.sleep(3)
            printed = shell.type(text)
        if until:
            healthy = health(api_port)

    assert time.monotonic() - started < allowed_s()
    assert {part: healthy[part]["status"] for part in ("scheduler", "dag_processor", "triggerer")} == {
        "scheduler": "healthy",
        "dag_processor": "healthy",
        "triggerer": "healthy",
    }
    assert shell.processes() == []
