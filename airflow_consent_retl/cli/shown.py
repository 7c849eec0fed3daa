"""The result of a verb, and its forms: JSON for programs, Markdown for pull requests, plain tables for people."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from airflow_consent_retl.progress import LINE, commands_in

_GAP = 2
_NARROWEST = 8
_NUMBER = re.compile(r"[\d,.]*")
_DIGEST = re.compile(r"\b(?:sha256:)?([0-9a-f]{12})[0-9a-f]{20,}\b")


class Form(StrEnum):
    """The forms of a result."""

    PLAIN = "plain"
    MARKDOWN = "markdown"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Table:
    """A table for people: its columns' names, its rows, and a line above it."""

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a verb.

    Args:
        document: what `--json` prints; its keys are part of the command's interface.
        parts: sentences and tables for people; None: made of the document.
        code: the exit code: 0 fine, 1 findings.
        empty: the sentence for people if the document is empty.
    """

    document: Any
    parts: Sequence[str | Table] | None = None
    code: int = 0
    empty: str = "nothing"


class StandardError:
    """A log whose lines go to standard error, where they do not mix with the result."""

    def info(self, message: str, /, *arguments: object) -> None:
        """Write a line."""
        print(message % arguments, file=sys.stderr, flush=True)  # noqa: T201 - a command's output


def render(result: Result, form: Form) -> str:
    """Return a result as text in one of the forms, without a final line break."""
    if form is Form.JSON:
        return json.dumps(result.document, indent=2, default=str)
    parts = parts_of(result.document, result.empty) if result.parts is None else result.parts
    text = "\n\n".join(_part(part, form) for part in parts)
    # Markdown breaks no line.
    return text if form is Form.MARKDOWN else with_commands(text, "\n".join(map(_source, parts)))


def with_commands(shown: str, source: str) -> str:
    """Return a text with its commands below, each whole on a line of its own, for people to copy.

    Args:
        shown: the text, in lines that fit.
        source: the same without its line ends.
    """
    commands = commands_in(source)
    return "\n".join([shown, "", "To copy:", "", *commands]) if commands else shown


def parts_of(document: Any, empty: str) -> list[str | Table]:
    """Return a JSON document as sentences and tables."""
    if not document and document != 0:
        return [empty]
    if isinstance(document, Mapping):
        simple = {name: value for name, value in document.items() if not _is_table(value) and not _is_empty(value)}
        tables = [table_of(value, title=name) for name, value in document.items() if _is_table(value)]
        return [*([Table(("", ""), list(simple.items()))] if simple else []), *tables]
    if _is_table(document):
        return [table_of(document)]
    return ["\n".join(map(_text, document)) if isinstance(document, (list, tuple)) else _text(document)]


def table_of(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> Table:
    """Return JSON objects with the same keys as a table. Columns that are empty in all rows are left out."""
    names = [name for name in rows[0] if not all(_is_empty(row[name]) for row in rows)]
    return Table(names, [[short(row[name]) for name in names] for row in rows], title)


def short(value: object) -> str:
    """Return a cell: digests are cut to twelve characters."""
    return _DIGEST.sub(lambda found: found[1], _text(value))


def _is_empty(value: object) -> bool:
    return value in (None, "", [], {}, ())


def _is_table(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _text(value: object) -> str:
    text = str(value)
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case int():
            text = f"{value:,}"
        case datetime():
            text = f"{value:%F %T}"
        case Mapping():
            text = ", ".join(f"{name} {_text(one)}" for name, one in value.items())
        case list() | tuple():
            text = ", ".join(map(_text, value))
    return text


def _part(part: str | Table, form: Form) -> str:
    if isinstance(part, str):
        return part if form is Form.MARKDOWN else "\n".join(map(_wrapped, part.split("\n")))
    cells = [[_text(cell) for cell in row] for row in part.rows]
    drawn = _markdown(part.headers, cells) if form is Form.MARKDOWN else _plain(part.headers, cells)
    return f"{part.title}\n\n{drawn}" if part.title else drawn


def _source(part: str | Table) -> str:
    return part if isinstance(part, str) else "\n".join(_text(cell) for row in part.rows for cell in row)


def _wrapped(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line, LINE, subsequent_indent=indent, break_on_hyphens=False)


def _markdown(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    escaped = [[cell.replace("|", "\\|").replace("\n", "<br>") for cell in row] for row in cells]
    return tabulate(escaped, headers=headers, tablefmt="github", disable_numparse=True)


def _plain(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    if len(headers) * (_NARROWEST + _GAP) > LINE:
        return "\n\n".join(_plain(("", ""), list(zip(headers, row, strict=True))) for row in cells)
    columns = list(zip(headers, *cells, strict=True))
    # tabulate makes a column at least this much wider than its heading.
    natural = [max([len(head) + _GAP, *map(len, _lines(rows))]) for head, *rows in columns]
    narrowest = [
        max(_NARROWEST, *(len(word) + _GAP for word in head.split()), *map(len, _words(rows)), 0)
        for head, *rows in columns
    ]
    widths = _widths(natural, narrowest)
    folded = [[_folded(cell, width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    align = ["right" if any(column[1:]) and all(map(_NUMBER.fullmatch, column[1:])) else "left" for column in columns]
    titles = [_folded(name, width - _GAP) for name, width in zip(headers, widths, strict=True)] if any(headers) else []
    style = "simple" if titles else "plain"
    drawn = tabulate(folded, headers=titles, tablefmt=style, colalign=align, disable_numparse=True)
    return "\n".join(line.rstrip() for line in drawn.splitlines())


def _lines(cells: Sequence[str]) -> list[str]:
    return [line for cell in cells for line in cell.split("\n")]


def _words(cells: Sequence[str]) -> list[str]:
    return [word for cell in cells for word in cell.split()]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _widths(natural: Sequence[int], narrowest: Sequence[int]) -> list[int]:
    """Return the widths of columns that fit into a line: the widest ones give way, and no word is broken if it fits."""
    widths = list(natural)
    while _total(widths) > LINE:
        wide = [index for index, width in enumerate(widths) if width > narrowest[index]] or range(len(widths))
        widths[max(wide, key=lambda index: widths[index])] -= 1
    return widths


def _folded(cell: str, width: int) -> str:
    return "\n".join(textwrap.fill(line, max(width, 1), break_on_hyphens=False) for line in cell.split("\n"))
