"""The garbage collector while a task works: it leaves out the objects that were there before."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_old_objects() -> Iterator[None]:
    """Have the garbage collector look at new objects only, unless another part of the process has frozen its own.

    Airflow's half a million objects stay until the process ends. To look through them takes 0.1 s, and happens once or
    twice while a task loads its libraries.
    """
    if is_frozen_by_others():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@functools.cache
def is_frozen_by_others() -> bool:
    """Return whether something was frozen at the first task of this process: the objects are counted one by one."""
    return gc.get_freeze_count() > 0
