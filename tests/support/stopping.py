"""Stops in the middle of a task, as Airflow makes them, at a point that the test waits for."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_consent_retl.databases.source import DatabaseSource

# Far longer than any of this takes, even on a busy machine.
PATIENCE_S = 60
_POLL_INTERVAL_S = 0.1
# Long enough for the client to begin waiting for its answer.
_GRACE_S = 0.5


class TaskStoppedError(BaseException):
    """The error that stops a task's process in the middle of its work."""


@contextmanager
def stopped_when(has_begun: Callable[[], object]) -> Iterator[None]:
    """Raise in this thread after something has begun, as Airflow does when a task is stopped or takes too long."""
    is_over = threading.Event()
    thread = threading.get_ident()

    def stop(*_: object) -> None:
        raise TaskStoppedError

    def watch() -> None:
        while not has_begun():
            if is_over.wait(_POLL_INTERVAL_S):
                return
        if not is_over.wait(_GRACE_S):
            signal.pthread_kill(thread, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        is_over.set()
        watching.join()
        signal.signal(signal.SIGUSR1, before)


def cancel_until_over(source: DatabaseSource, is_under_way: Callable[[], object]) -> None:
    """Cancel a running query repeatedly until it has ended."""
    _wait_until(is_under_way)
    deadline = time.monotonic() + PATIENCE_S
    while source.is_running and time.monotonic() < deadline:
        source.cancel()
        time.sleep(0.2)


def _wait_until(is_under_way: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_under_way() and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL_S)
    time.sleep(_GRACE_S)
