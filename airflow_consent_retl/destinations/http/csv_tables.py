"""Tables in CSV: files of lines to send, tables of results, and the outcomes of the lines in them.

A case that is not clear is uncertain.
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, WriteOptions, read_csv, write_csv

from airflow_consent_retl.contract.outcomes import Outcome, RowStatus
from airflow_consent_retl.destinations.http.responses import ACCEPTED, UnreadableAnswerError

_SEVERAL = Outcome(RowStatus.UNCERTAIN, "several_results")


@dataclass(frozen=True, slots=True)
class AcceptedWith:
    """The outcome of lines in a table of what was done: accepted, where a column has a value.

    Args:
        column: such as that of the record's id.
        otherwise: of a line without one.
    """

    column: str
    otherwise: Outcome

    def __call__(self, line: Mapping[str, str]) -> Outcome:
        """Return the outcome of a line."""
        return ACCEPTED if line.get(self.column) else self.otherwise


ReadLine = Callable[[Mapping[str, str]], Outcome]
"""Returns the outcome of a line of results."""


def csv_files(table: pa.RecordBatch, *, most_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Yield texts as CSV, in files of at most so many bytes, each with its header and its number of lines.

    Every value is quoted, and a line ends with `\\n`. A line that alone is larger is a file of its own.

    Args:
        table: texts, of which none is NULL.
        most_bytes: of a file.
    """
    header = _written(table.slice(0, 0), table.schema.names).size
    # Of a value: itself, its quotes once more, and three characters around it.
    lengths = [pc.add(pc.add(pc.binary_length(column), pc.count_substring(column, '"')), 3) for column in table.columns]
    ends: list[int] = pc.cumulative_sum(reduce(pc.add, lengths).cast(pa.int64())).to_pylist()
    start = 0
    while start < table.num_rows:
        before = ends[start - 1] if start else 0
        stop = max(start + 1, bisect_right(ends, most_bytes - header + before))
        yield _written(table.slice(start, stop - start), table.schema.names).to_pybytes(), stop - start
        start = stop


def csv_entries(body: bytes | None, *, columns: Iterable[str] = ()) -> list[dict[str, str]]:
    """Return the lines of a results file in CSV, by the names in its header.

    Args:
        body: UTF-8, perhaps with a byte order mark; None where it was too long.
        columns: that have to be there.

    Raises:
        UnreadableAnswerError: it is no such CSV, a column occurs twice or is missing, or a line has another number of
            values.
    """
    header, lines = _csv_lines(body, columns)
    return [dict(zip(header, line, strict=True)) for line in lines]


def by_column(tables: Iterable[tuple[bytes, ReadLine]], column: str) -> dict[str, Outcome]:
    """Return the outcomes of a vendor's lines by the value of one column, where it sorts them into several CSV tables.

    Args:
        tables: each with the outcome of a line in it; an empty text is a table without lines.
        column: of each table. A value with two different outcomes is uncertain.

    Raises:
        UnreadableAnswerError: a table is no CSV, or has no such column.
    """
    found: dict[str, Outcome] = {}
    for body, outcome_of in tables:
        if isinstance(outcome_of, AcceptedWith) and not found:
            applied = _applied(body, column, outcome_of.column)
            found = dict.fromkeys(applied, ACCEPTED)
            if found:
                continue
        for value, outcome in _outcomes(body, outcome_of, column) if body.strip() else ():
            if found.setdefault(value, outcome) is not outcome and found[value] != outcome:
                found[value] = _SEVERAL
    return found


def _applied(body: bytes, column: str, filled: str) -> list[str]:
    """Return the values of a column, if each of them is there once and each line has a value in another column.

    It is the short way for most tables; none where there is a doubt, for which `_outcomes` looks at each line.
    """
    header = next(csv.reader([body.partition(b"\n")[0].decode("utf-8", "replace")]), [])
    if len({column, filled, *header}) != len(header):
        return []
    texts = ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
    block = ReadOptions(use_threads=False, block_size=max(1, len(body)))
    try:
        table = read_csv(pa.BufferReader(body), block, ParseOptions(newlines_in_values=True), texts)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return []
    # INVARIANT: Arrow reads more than the strict reader takes. What it would write in the same way, both read alike.
    if table.num_rows == 0 or not _written(table, table.schema.names).equals(pa.py_buffer(body)):
        return []
    values: list[str] = table.column(column).to_pylist()
    is_filled = pc.all(pc.not_equal(table.column(filled), "")).as_py()
    return values if is_filled and len(set(values)) == len(values) else []


def _written(table: pa.Table | pa.RecordBatch, header: Iterable[str]) -> pa.Buffer:
    """Return texts as CSV with a header; every value is quoted, and a line ends with `\\n`."""
    sink = pa.BufferOutputStream()
    sink.write((",".join('"' + name.replace('"', '""') + '"' for name in header) + "\n").encode())
    write_csv(table, sink, WriteOptions(include_header=False, quoting_style="all_valid"))
    return sink.getvalue()


def _outcomes(body: bytes, outcome_of: ReadLine, column: str) -> Iterator[tuple[str, Outcome]]:
    header, lines = _csv_lines(body, [column])
    key = header.index(column)
    if isinstance(outcome_of, AcceptedWith) and outcome_of.column in header:
        # Most lines by far: no object is made of each.
        place, otherwise = header.index(outcome_of.column), outcome_of.otherwise
        return ((line[key], ACCEPTED if line[place] else otherwise) for line in lines)
    return ((line[key], outcome_of(dict(zip(header, line, strict=True)))) for line in lines)


def _csv_lines(body: bytes | None, columns: Iterable[str]) -> tuple[list[str], Iterator[list[str]]]:
    """Return the header and the lines, one after the other: a table may be as large as a file that was sent."""
    if body is None:
        raise UnreadableAnswerError
    text = io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline="")
    lines = _full_lines(csv.reader(text, strict=True))
    header = next(lines, [])
    if not header or len(set(header)) != len(header) or not set(columns) <= set(header):
        raise UnreadableAnswerError
    return header, lines


def _full_lines(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    width = 0
    try:
        for line in reader:
            if line:
                width = width or len(line)
                if len(line) != width:
                    raise UnreadableAnswerError
                yield line
    except (ValueError, csv.Error):
        # The parser's message may quote a line.
        raise UnreadableAnswerError from None
