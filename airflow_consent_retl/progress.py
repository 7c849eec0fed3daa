"""Progress lines for long work, and tables for the log. They contain counts only."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

_INTERVAL_S = 10.0


class Log(Protocol):
    """The part of a task's logger that this package uses for information."""

    def info(self, message: str, /, *arguments: object) -> object:
        """Log a line."""


class TaskLog(Log, Protocol):
    """The part of a task's logger that a delivery uses."""

    def warning(self, message: str, /, *arguments: object) -> object:
        """Log a warning that a person must act on."""


class Progress:
    """A counter of rows that logs a line every ten seconds: `read 3,000,000 of 10,000,000 rows, …`.

    Args:
        log: the task's logger.
        verb: what happened to the rows, in the past tense.
        total_rows: the total number of rows, if it is known.
    """

    def __init__(self, log: Log, verb: str, *, total_rows: int | None = None) -> None:
        self._log = log
        self._verb = verb
        self._of_total = "" if total_rows is None else f" of {total_rows:,}"
        self._started = time.monotonic()
        self._due = self._started + _INTERVAL_S
        self.rows = 0

    def __call__(self, rows: int) -> None:
        """Add rows to the count."""
        self.rows += rows
        now = time.monotonic()
        if now >= self._due:
            rate = self.rows / (now - self._started)
            self._log.info("%s %s%s rows, %s rows/s", self._verb, f"{self.rows:,}", self._of_total, f"{rate:,.0f}")
            self._due = now + _INTERVAL_S


def filled(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, always: Collection[str]
) -> tuple[list[str], list[list[object]]]:
    """Leave out the columns with nothing but 0 and empty cells, so that lines stay short; keep those of `always`."""
    kept = [i for i, name in enumerate(headers) if name in always or any(row[i] not in {0, ""} for row in rows)]
    return [headers[i] for i in kept], [[row[i] for i in kept] for row in rows]


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a plain table for the log. Numbers have thousands separators and are aligned to the right."""
    from tabulate import tabulate

    cells = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    numeric = [
        bool(cells) and all(cell[:1].isdigit() for cell in map(str, column)) for column in zip(*cells, strict=True)
    ]
    align = ["right" if is_number else "left" for is_number in numeric] or None
    return tabulate(cells, headers=headers, colalign=align, disable_numparse=True)
