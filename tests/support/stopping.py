"""A task's end in the middle of what it does, as Airflow brings it about."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_POLL_INTERVAL_S = 0.1
# The client waits for its answer by then.
_GRACE_S = 0.5


class TaskStoppedError(BaseException):
    """What a task's process raises in the middle of whatever it does."""


@contextmanager
def stopped_when(has_begun: Callable[[], object]) -> Iterator[None]:
    """Raise in this thread, as Airflow does when a task is stopped or takes too long, once something has begun."""
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
