"""Lines and tables for the log that fit into Airflow's pages, which do not wrap, and progress of long work.

They contain counts only.
"""

from __future__ import annotations

import logging
import re
import textwrap
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from airflow_consent_retl.errors import ConsentRetlError, OvertakenError

LINE: Final = 110
_INTERVAL_S = 10.0
_CONTINUES = "    "
_DIGEST_CHARACTERS = 12
# What a reader copies: names, parameters and commands.
_QUOTED = r"`[^`\n]+`"
# Characters that occur in no text: a space that stays, and the begin of a line on which a command continues.
_SPACE, _CONTINUED = "\0", "\1"
_COMMANDS = ("`airflow ", "`consent-retl ", "`pip ", "`chmod ")


class Log(Protocol):
    """The part of a task's logger that this package uses for information."""

    def info(self, message: str, /, *arguments: object) -> object:
        """Log a line."""


class TaskLog(Log, Protocol):
    """The part of a task's logger that a delivery uses."""

    def warning(self, message: str, /, *arguments: object) -> object:
        """Log a warning that a person must act on."""


class FittedLog:
    """A logger whose lines have at most `LINE` characters, except for words, such as paths, that are longer.

    Args:
        log: gets the lines.
    """

    def __init__(self, log: TaskLog) -> None:
        self._log = log

    def info(self, message: str, /, *arguments: object) -> None:
        """Log a text, perhaps of several lines."""
        self._log.info(fitted(message % arguments if arguments else message))

    def warning(self, message: str, /, *arguments: object) -> None:
        """Log a warning, perhaps of several lines."""
        self._log.warning(fitted(message % arguments if arguments else message))


def module_log(name: str) -> FittedLog:
    """Return the logger of a module, in lines that fit."""
    return FittedLog(logging.getLogger(name))


def fitted(text: str) -> str:
    """Return a text in lines that fit, cut at spaces; the rest of a line is indented.

    What stands in backquotes stays in one line if it fits into one. A longer command is cut before an option, with a
    backslash, so that the shell takes it as it is shown.
    """
    lines: list[str] = []
    for line in text.splitlines():
        inset = line[: len(line) - len(line.lstrip())] + _CONTINUES
        lines += [line] if len(line) <= LINE else _cut(line, inset)
    return "\n".join(lines)


def commands_in(text: str) -> list[str]:
    """Return the commands that stand in backquotes in a text, each once, in order."""
    quoted: list[str] = re.findall(_QUOTED, text)
    return list(dict.fromkeys(one.strip("`") for one in quoted if one.startswith(_COMMANDS)))


@contextmanager
def errors_that_fit() -> Iterator[None]:
    """Have the text of an error that leaves the block fit: Airflow's pages do not wrap the texts of errors either.

    The reason of a skipped task keeps its one line: Airflow logs it as a value, in which a line end is a backslash.
    """
    try:
        yield
    except OvertakenError:
        raise
    except ConsentRetlError as error:
        error.args = (fitted(str(error)), *error.args[1:])
        raise


def short(digest: str) -> str:
    """Return a digest as people compare it in a log: its first characters, without the name of its kind."""
    return digest.rpartition(":")[2][:_DIGEST_CHARACTERS]


def by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return names with their counts, the highest count first, and equal counts by name."""
    return sorted(counts.items(), key=lambda counted: (-counted[1], counted[0]))


def listed(counts: Iterable[tuple[str, int]]) -> str:
    """Return names with their counts in one line, in the given order."""
    return ", ".join(f"{name} {count:,}" for name, count in counts)


class Progress:
    """A counter of rows that logs a line every ten seconds: rows so far, rows per second, and when it may end.

    Args:
        log: the task's logger.
        verb: what happened to the rows, in the past tense.
        total_rows: the total number of rows, if it is known.
    """

    def __init__(self, log: Log, verb: str, *, total_rows: int | None = None) -> None:
        self._log = log
        self._verb = verb
        self._total_rows = total_rows
        self._started = time.monotonic()
        self._due = self._started + _INTERVAL_S
        self.rows = 0

    def __call__(self, rows: int) -> None:
        """Add rows to the count."""
        self.rows += rows
        now = time.monotonic()
        if now >= self._due:
            self._log.info("%s %s", self._verb, self._state(self.rows / (now - self._started)))
            self._due = now + _INTERVAL_S

    def _state(self, rate: float) -> str:
        if self._total_rows is None:
            return f"{self.rows:,} rows, {rate:,.0f} rows/s"
        ends_at = datetime.now(UTC) + timedelta(seconds=max(0, self._total_rows - self.rows) / max(rate, 1e-6))
        return f"{self.rows:,} of {self._total_rows:,} rows, {rate:,.0f} rows/s, until about {ends_at:%F %T %Z}"


def filled(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, always: Collection[str]
) -> tuple[list[str], list[list[object]]]:
    """Leave out the columns with nothing but 0 and empty cells, so that lines stay short; keep those of `always`."""
    kept = [i for i, name in enumerate(headers) if name in always or any(row[i] not in {0, ""} for row in rows)]
    return [headers[i] for i in kept], [[row[i] for i in kept] for row in rows]


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a plain table whose lines fit; where they would not, each row as a list of one fact a line.

    Numbers have thousands separators and are aligned to the right.
    """
    from tabulate import tabulate

    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    numeric = [bool(cells) and all(cell[:1].isdigit() for cell in column) for column in zip(*cells, strict=True)]
    align = ["right" if is_number else "left" for is_number in numeric] or None
    wide = tabulate(cells, headers=headers, colalign=align, disable_numparse=True)
    if all(len(line) <= LINE for line in wide.splitlines()):
        return wide
    return "\n\n".join(_facts(headers, row, numeric) for row in cells)


def _facts(headers: Sequence[str], row: Sequence[str], numeric: Sequence[bool]) -> str:
    names = max(map(len, headers))
    numbers = max((len(cell) for cell, is_number in zip(row, numeric, strict=True) if is_number), default=0)
    lines = []
    for name, cell, is_number in zip(headers, row, numeric, strict=True):
        if not cell:
            continue
        line = f"{name:<{names}}  {cell:>{numbers if is_number else 0}}"
        lines += [line] if len(line) <= LINE else _cut(line, " " * (names + 2))
    return "\n".join(lines)


def _cut(line: str, inset: str) -> list[str]:
    room = LINE - len(inset)
    kept = re.sub(_QUOTED, lambda quoted: _kept(quoted[0], room), line)
    width = LINE - 2 if _CONTINUED in kept else LINE
    cut = textwrap.wrap(kept, width, subsequent_indent=inset, break_long_words=False, break_on_hyphens=False)
    continues = [part.lstrip(" ").startswith(_CONTINUED) for part in [*cut[1:], ""]]
    lines = [f"{part} \\" if is_continued else part for part, is_continued in zip(cut, continues, strict=True)]
    return [part.replace(_SPACE, " ").replace(_CONTINUED, "") for part in lines]


def _kept(quoted: str, room: int) -> str:
    whole = quoted.replace(" ", _SPACE)
    if len(quoted) <= room:
        return whole
    return whole.replace(f"{_SPACE}--", f" {_CONTINUED}--") if quoted.startswith(_COMMANDS) else quoted
