"""Ledgers for the tests, in SQLite and in PostgreSQL, and workers in their own processes, which can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.delivery.attempts import Attempt, BatchKind, EndedBatch, IntendedBatch
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import Delivery, sync_name

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.lease import Lease

SYNC = sync_name("customers", "webhook")
DECIDED_AT = datetime(2026, 11, 23, 17, 51, 7, 250_001, tzinfo=UTC)
ROWS = 10
_SQLITE = "sqlite:///"


def opened(url: str, *, busy_s: float = 10.0) -> Ledger:
    """Open the ledger at a URL."""
    if url.startswith(_SQLITE):
        return Ledger.sqlite(Path(url.removeprefix(_SQLITE)), busy_s=busy_s)
    return Ledger.from_engine(sa.create_engine(url))


def sqlite_url(file: Path) -> str:
    return f"{_SQLITE}{file}"


def begun(lease: Lease, *, key: str = "k1", decided_at: datetime = DECIDED_AT) -> Delivery:
    """Begin a delivery."""
    return lease.begin(
        key=key,
        kind="load",
        changes_uri=f"file:///changes/{key}",
        changes_sha256="c" * 64,
        decided_at=decided_at,
        send_rows=ROWS,
        remove_rows=ROWS,
    )


def intended(number: int, *, kind: BatchKind = BatchKind.SEND) -> IntendedBatch:
    """Describe a full batch."""
    return IntendedBatch(kind=kind, number=number, start=number * ROWS, rows=ROWS, key=f"{kind} {number}")


def ended(number: int, outcomes: Outcomes | None = None, *, epoch: int | None = None) -> EndedBatch:
    """Describe the end of a full batch of rows; by default all are accepted."""
    return EndedBatch(kind=BatchKind.SEND, number=number, outcomes=outcomes or Outcomes.accepted(ROWS), epoch=epoch)


def advanced(lease: Lease, delivery: Delivery, *, uri: str = "file:///state/1", rows: int = 3) -> None:
    """Close the delivery with a new version."""
    lease.advance(delivery, uri=uri, sha256="5" * 64, rows=rows, decided_at=delivery.decided_at)


def numbers(attempts: Sequence[Attempt], *, with_end: bool) -> list[int]:
    """Return the numbers of the attempts that ended, or of those that did not."""
    return [attempt.number for attempt in attempts if (attempt.ended_at is not None) == with_end]


class Worker:
    """A process that loads step by step; each step returns a value or the name of an error."""

    def __init__(self, url: str) -> None:
        tests = Path(__file__).resolve().parents[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.ledger_worker", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        )

    def ask(self, step: str, **arguments: object) -> None:
        """Begin a step."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([step, arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Return the result of the step."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the worker died"
        return json.loads(line)

    def do(self, step: str, **arguments: object) -> Any:
        self.ask(step, **arguments)
        return self.answer()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, as a failing machine does."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def workers(url: str, count: int = 1) -> Iterator[list[Worker]]:
    """Start this number of workers, ready to begin."""
    started = [Worker(url) for _ in range(count)]
    try:
        for worker in started:
            assert worker.answer() == "ready"
        yield started
    finally:
        for worker in started:
            worker.close()
