"""Files that a process holds while it works: whether a file is still held shows whether its process is alive.

The lock is the operating system's: it ends with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def held_file(path: Path, content: bytes = b"") -> Iterator[None]:
    """Make a file and hold it while the block runs; then the file is removed.

    Args:
        path: of a new file, whose folder exists.
        content: of the file.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.write(descriptor, content)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            break
        # Another process took it for abandoned before it was locked.
        os.close(descriptor)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


@contextmanager
def abandoned_file(path: Path) -> Iterator[bytes | None]:
    """Yield the content of a file whose process is dead, and remove the file; None where it lives or has ended well."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # It is held, or this file system has no locks.
            yield None
            return
        yield os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        with suppress(FileNotFoundError):
            path.unlink()
    finally:
        os.close(descriptor)
