"""A pipeline of batches: work in several threads, results in order, few batches at a time to limit memory."""

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
    """Yield the result of `work` for each item, in the order of the items.

    Args:
        under_way: the most items that are in work, or done and not yet taken.
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


def read_ahead(items: Iterator[T], reading: Executor) -> Iterator[T]:
    """Yield items, each made in another thread while the caller works on the one before it. None ends them."""
    coming = reading.submit(next, items, None)
    while (item := coming.result()) is not None:
        coming = reading.submit(next, items, None)
        yield item


@contextmanager
def lean_memory() -> Iterator[None]:
    """Let Arrow return memory as soon as possible, inside this block."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(lean_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def lean_memory_pool() -> pa.MemoryPool:
    """Return the allocator that returns memory soonest: Arrow's default allocator keeps a quarter more."""
    if "jemalloc" in pa.supported_memory_backends():
        return pa.jemalloc_memory_pool()
    return pa.system_memory_pool()
