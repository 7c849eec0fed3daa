"""Work on batches in several threads, in order, with few of them under way: what waits for them holds memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa

T = TypeVar("T")
U = TypeVar("U")


def in_order(work: Callable[[T], U], items: Iterable[T], threads: Executor, *, under_way: int) -> Iterator[U]:
    """Yield what `work` makes of each item, in the items' order.

    Args:
        under_way: items that are worked on, or done and not yet taken, at the most.
    """
    waiting: deque[Future[U]] = deque()
    try:
        for item in items:
            waiting.append(threads.submit(work, item))
            if len(waiting) >= under_way:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        wait(waiting)


@contextmanager
def lean_memory() -> Iterator[None]:
    """Have Arrow give memory back as soon as it can, for as long as this lasts."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(lean_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def lean_memory_pool() -> pa.MemoryPool:
    """Return the allocator that gives memory back soonest: Arrow's default one holds on to a quarter more."""
    if "jemalloc" in pa.supported_memory_backends():
        return pa.jemalloc_memory_pool()
    return pa.system_memory_pool()
