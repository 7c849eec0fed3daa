"""The DAG files that Airflow could not parse, each with its line and the whole sentence of its error.

Airflow keeps the text of a traceback. An error may have several lines, such as one for each problem of a policy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_TRACEBACK = "Traceback (most recent call last):\n"
_OWN_ERRORS = re.compile(r"airflow_consent_retl\.errors\.\w+: ")
_MODULE = re.compile(r"(?:\w+\.)+(?=\w+(?:: |$))")


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """A file that is no DAG.

    Args:
        file: its path.
        line: the line of the file that failed; None: Airflow does not tell it.
        message: the error, with the name of its class unless it is one of this package.
    """

    file: str
    line: int | None
    message: str

    @property
    def place(self) -> str:
        """The line in words; empty if it is not known."""
        return "" if self.line is None else f"line {self.line}"


def import_failures(bag: Any) -> list[ImportFailure]:
    """Return the files of Airflow's `DagBag` that are no DAGs, by name."""
    return [_failure(str(file), str(text)) for file, text in sorted(bag.import_errors.items())]


def _failure(file: str, text: str) -> ImportFailure:
    # The last traceback is of the error that ended the import; those before are of its causes.
    _, found, last = text.rpartition(_TRACEBACK)
    if not found:
        return ImportFailure(file, None, _sentence(text))
    lines = last.splitlines()
    frames = next((number for number, line in enumerate(lines) if not line.startswith(" ")), len(lines))
    numbers = re.findall(rf'^  File "{re.escape(file)}", line (\d+)', "\n".join(lines[:frames]), re.MULTILINE)
    return ImportFailure(file, int(numbers[-1]) if numbers else None, _sentence("\n".join(lines[frames:])))


def _sentence(text: str) -> str:
    text = text.strip()
    own = _OWN_ERRORS.match(text)
    return text[own.end() :] if own else _MODULE.sub("", text, count=1) if _MODULE.match(text) else text
