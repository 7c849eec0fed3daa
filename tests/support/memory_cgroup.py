"""A memory cgroup with a hard limit, as a container has one, where this process may make one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
# By version of cgroups: the files with the limit and with the most memory that was ever used.
_V1, _V2 = ("memory.limit_in_bytes", "memory.max_usage_in_bytes"), ("memory.max", "memory.peak")


@dataclass(frozen=True, slots=True)
class MemoryCgroup:
    """A cgroup: its folder, in which a process writes its id to join, and the file with its peak."""

    folder: Path
    peak_file: str

    @property
    def peak_mib(self) -> int:
        """The most memory that its processes ever used together, files in memory included."""
        return int((self.folder / self.peak_file).read_text()) >> 20


@contextmanager
def memory_cgroup(limit_mib: int) -> Iterator[MemoryCgroup | None]:
    """Yield a new cgroup whose processes are killed beyond the limit; None: this process has no right to make one."""
    name = f"consent-retl-{os.getpid()}-{limit_mib}"
    for parent, (limit, peak) in ((_ROOT / "memory", _V1), (_ROOT, _V2)):
        folder = parent / name
        made = False
        with suppress(OSError):
            folder.mkdir()
            made = True
            (folder / limit).write_text(str(limit_mib << 20))
            if not (folder / peak).exists():
                raise FileNotFoundError(peak)
        if not made:
            continue
        try:
            if (folder / peak).exists():
                yield MemoryCgroup(folder, peak)
                return
        finally:
            folder.rmdir()
    yield None
