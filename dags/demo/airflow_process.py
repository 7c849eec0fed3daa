"""Airflow's command line in one process for several commands: importing Airflow takes longer than most commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# The line after a command's output starts with it. No log line contains this character.
_END = "\x1e"
_LINE = re.compile(r"\d{4}-\d\d-\d\dT(?P<time>\d\d:\d\d:\d\d)\S* \[(?P<level>\w+) *\] (?P<message>.*)")
_TASK = re.compile(r"\[DAG TEST\] starting task_id=(?P<task>\w+)")
_LOGGER = re.compile(r" *\[(airflow\.task\.operators\.)?airflow_consent_retl\.[^]]*\] loc=\S+$")


class AirflowProcess:
    """A process that runs Airflow's commands, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *arguments: str, log: Path, echo: bool = False) -> int:
        """Run `airflow` with these arguments, and return its exit code.

        Args:
            arguments: the words after `airflow`.
            log: the file for the whole output.
            echo: whether the log lines of this package's tasks are shown.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        with log.open("w") as file:
            entry: list[str] = []
            for line in self._process.stdout:
                if line.startswith(_END):
                    code = int(line.removeprefix(_END))
                    break
                file.write(line)
                if _LINE.match(line) and echo:
                    _show(entry)
                    entry = []
                entry.append(line.rstrip())
            else:
                code = self._process.wait() or 1
            if echo:
                _show(entry)
        return code


@contextmanager
def airflow_process(environment: Mapping[str, str]) -> Iterator[AirflowProcess]:
    """Start the process, and stop it at the end."""
    command = [sys.executable, __file__]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        # Leaving the block closes the pipe, which ends the process.
        yield AirflowProcess(process)


def _show(entry: list[str]) -> None:
    """Print one entry of Airflow's log, which may have several lines, if it is about the work and not about Airflow."""
    head = _LINE.match(entry[0]) if entry else None
    if head is None:
        return
    if task := _TASK.match(head["message"]):
        print(f"\n--- task {task['task']}")
    elif _LOGGER.search(entry[-1]):
        level = "" if head["level"] == "info" else f"{head['level'].upper()}: "
        text = "\n".join([head["message"], *entry[1:]])
        print(f"{head['time']} {level}{_LOGGER.sub('', text)}")


def _serve() -> None:
    """Run each command that is read from standard input."""
    from airflow.__main__ import main

    for line in sys.stdin:
        sys.argv = ["airflow", *json.loads(line)]
        code = _exit_code_of(main)
        sys.stderr.flush()
        print(f"{_END}{code}", flush=True)


def _exit_code_of(main: object) -> int:
    assert callable(main)
    try:
        main()
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            print(exit_.code, file=sys.stderr)
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except Exception:  # noqa: BLE001 - the demonstration shows it, and ends
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve()
