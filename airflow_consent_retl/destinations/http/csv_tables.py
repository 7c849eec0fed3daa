"""Tables of results in CSV, and the outcomes of the lines in them. A case that is not clear is uncertain."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping

from airflow_consent_retl.contract.outcomes import Outcome, RowStatus
from airflow_consent_retl.destinations.http.responses import UnreadableAnswerError


def csv_entries(body: bytes | None, *, columns: Iterable[str] = ()) -> list[dict[str, str]]:
    """Return the lines of a results file in CSV, by the names in its header.

    Args:
        body: UTF-8, perhaps with a byte order mark; None where it was too long.
        columns: that have to be there.

    Raises:
        UnreadableAnswerError: it is no such CSV, a column occurs twice or is missing, or a line has another number of
            values.
    """
    if body is None:
        raise UnreadableAnswerError
    try:
        reader = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        lines = [line for line in reader if line]
    except (ValueError, csv.Error):
        # The parser's message may quote a line.
        raise UnreadableAnswerError from None
    if not lines:
        raise UnreadableAnswerError
    header = lines[0]
    if len(set(header)) != len(header) or not set(columns) <= set(header):
        raise UnreadableAnswerError
    if any(len(line) != len(header) for line in lines):
        raise UnreadableAnswerError
    return [dict(zip(header, line, strict=True)) for line in lines[1:]]


def by_column(
    tables: Iterable[tuple[bytes, Callable[[Mapping[str, str]], Outcome]]], column: str
) -> dict[str, Outcome]:
    """Return the outcomes of a vendor's lines by the value of one column, where it sorts them into several CSV tables.

    Args:
        tables: each with the outcome of a line in it; an empty text is a table without lines.
        column: of each table. A value with two different outcomes is uncertain.

    Raises:
        UnreadableAnswerError: a table is no CSV, or has no such column.
    """
    found: dict[str, Outcome] = {}
    for body, outcome_of in tables:
        for line in csv_entries(body, columns=[column]) if body.strip() else ():
            outcome = outcome_of(line)
            if found.setdefault(line[column], outcome) != outcome:
                found[line[column]] = Outcome(RowStatus.UNCERTAIN, "several_results")
    return found
