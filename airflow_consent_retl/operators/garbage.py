"""The garbage collector while a task works: it leaves out the objects that were there before."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_old_objects() -> Iterator[None]:
    """Have the garbage collector look at new objects only.

    Airflow's half a million objects stay until the process ends. To look through them takes 0.1 s, and happens once or
    twice while a task loads its libraries.
    """
    is_frozen = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        # What another part of the process has frozen stays so.
        if not is_frozen:
            gc.unfreeze()
