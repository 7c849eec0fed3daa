"""Lines of a log as tests read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_consent_retl.compat import AirflowFailException, AirflowSkipException
from airflow_consent_retl.progress import LINE

# A command that a shell is to take as it is shown goes on after a backslash. Airflow logs some texts as Python writes
# them.
_CONTINUES = re.compile(r"(?: \\{1,2})?(?:\n|\\n) {4,}(?=\S)")
# A text with its time and level before it, and its logger after it.
_EVENT = re.compile(
    r"^\S+Z \[\w+ *\] (.*?) +\[[\w.]*airflow_consent_retl[\w.]*\](?: loc=\S+)?$", re.MULTILINE | re.DOTALL
)
_BEGINS = re.compile(r"^(?=\S+Z \[\w+ *\] )", re.MULTILINE)


def unwrapped(log: str) -> str:
    """Return a log without the line ends that only make its lines fit."""
    return _CONTINUES.sub(" ", log)


def fitting(error: BaseException) -> str:
    """Return the text of a task's error without the line ends that make it fit, which it does.

    The reason of a skipped task has one line: Airflow logs it as a value, in which a line end is shown as a backslash.
    """
    if isinstance(error, AirflowSkipException):
        assert "\n" not in str(error)
        return str(error)
    too_long = [line for line in str(error).splitlines() if len(line) > LINE and len(line.split()) > 1]
    assert too_long == []
    return unwrapped(str(error))


@contextmanager
def task_fails(
    *, match: str = "", kind: type[Exception] = AirflowFailException
) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect that a task ends with an error of a kind: its text fits, and has a pattern, without its line ends."""
    with pytest.raises(kind) as failed:
        yield failed
    failed.value.args = (fitting(failed.value),)
    assert re.search(match, str(failed.value)), f"{match!r} is not in {str(failed.value)!r}"


def row_of(lines: list[str], title: str) -> dict[str, int]:
    """Return the numbers of the only row of a table, which has this title, by their headers."""
    at = next(number for number, line in enumerate(lines) if line.startswith(title))
    headers, _, row = (line.split() for line in lines[at + 1 : at + 4])
    return {name: int(cell.replace(",", "")) for name, cell in zip(headers[1:], row[1:], strict=True)}


def shown_lines(log: str) -> list[str]:
    """Return the lines of this package as Airflow's pages show them: without time, level and logger."""
    events = map(_EVENT.match, _BEGINS.split(log))
    return [line for event in events if event for line in event[1].splitlines()]


def lines_too_long(log: str) -> list[str]:
    """Return the lines of this package that do not fit into Airflow's pages. One word alone, a path, may be long."""
    return [line for line in shown_lines(log) if len(line) > LINE and len(line.split()) > 1]
