"""Processes for the tests that have Airflow and the package imported when they begin.

Each is forked from a server of this process, which has imported once what takes five seconds of a processor. Programs
that ask what an import does, or how much memory a fresh process needs, are started by `subprocess` instead.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

_IMPORTED = (
    "airflow.sdk",
    "airflow.providers.sqlite.hooks.sqlite",
    "duckdb_provider.hooks.duckdb_hook",
    "ibis.backends.duckdb",
    "airflow_consent_retl.delivery.syncing",
    "airflow_consent_retl.destinations.files.destination",
    "airflow_consent_retl.destinations.sql_table.destination",
    "airflow_consent_retl.extraction.files",
    "airflow_consent_retl.filtering.files",
    "airflow_consent_retl.operators.consent",
    "airflow_consent_retl.operators.extract",
    "airflow_consent_retl.operators.forget",
    "airflow_consent_retl.operators.load",
)


def run_program(
    program: str, *arguments: str, env: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end, with `arguments` as `sys.argv[1:]`. Raises `CalledProcessError` as `subprocess`."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error, Path(os.devnull).open() as nothing:
        process = _started(program, arguments, env, (nothing, out, error))
        process.join()
        out.seek(0)
        error.seek(0)
        assert process.exitcode is not None
        ended = subprocess.CompletedProcess(
            [program, *arguments], process.exitcode, stdout=out.read(), stderr=error.read()
        )
    if check:
        ended.check_returncode()
    return ended


class StartedProgram:
    """A program that runs beside the test, which writes to its `stdin` and reads its `stdout`."""

    def __init__(self, program: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        self.stdin, self.stdout = os.fdopen(to_write, "w"), os.fdopen(from_read)
        with os.fdopen(to_read) as theirs, os.fdopen(from_write, "w") as written:
            self._process = _started(program, arguments, env, (theirs, written, written))

    def kill(self) -> None:
        """Kill it, as a failing machine does."""
        self._process.kill()

    def ended(self) -> tuple[int, str]:
        """Wait for its end, and return its code (a signal as a negative number) and what it wrote and nobody read."""
        self.stdin.close()
        rest = self.stdout.read()
        self.stdout.close()
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode, rest


class _Stream:
    """An open file's number, which the process gets a copy of."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _detached, (DupFd(self._number),)


def _detached(duplicate: Any) -> int:
    number: int = duplicate.detach()
    return number


def _started(
    program: str, arguments: tuple[str, ...], env: Mapping[str, str] | None, streams: tuple[IO[str], ...]
) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    numbers = tuple(_Stream(stream.fileno()) for stream in streams)
    process = context.Process(target=_run, args=(program, arguments, dict(os.environ if env is None else env), numbers))
    process.start()
    return process


def _run(program: str, arguments: tuple[str, ...], env: Mapping[str, str], numbers: tuple[int, ...]) -> None:
    for standard, number in enumerate(numbers):
        os.dup2(number, standard)
        os.close(number)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    os.environ.clear()
    os.environ.update(env)
    # It was chosen when the server began.
    tempfile.tempdir = None
    sys.argv = ["program", *arguments]
    warnings.simplefilter("ignore")
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})  # noqa: S102 - the tests' own text
