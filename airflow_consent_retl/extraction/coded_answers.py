"""The answers of a consent source as numbers, and the aggregates that find each subject's answer by them.

A source has few different answers. With a number for each of them, one grouping finds the latest answer and its doubt,
in a tenth of the time that the windows of `AnswerHistory` need, and of less memory. It returns the same as they do, for
sources without profiles and categories. A source with too many different answers goes on as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.consent import ConsentSource, Doubt
from airflow_consent_retl.extraction.consent_expressions import DOUBT, SUBJECT, TIME, value_column
from airflow_consent_retl.values.buffers import integers_of
from airflow_consent_retl.values.numbered import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Answer = tuple[str | None, ...]

_MOST_ANSWERS = 1 << 14
# Sums of times and numbers below this are exact in 64 bits.
_SMALL_SUM = 1 << 62


def coded_columns(*, are_integers: bool) -> dict[str, str]:
    """Return the columns of a table with the numbers of answers; its subjects are integers, or text."""
    return {SUBJECT: "BIGINT" if are_integers else "VARCHAR", "answer": "INTEGER", "moment": "BIGINT"}


def is_coded(source: ConsentSource) -> bool:
    """Return whether the answers of a source can be numbers."""
    names = {column for column, _ in source.columns}
    return source.profile is None and source.category is None and source.time not in names


class CodedAnswers:
    """The different answers of one source, and their numbers.

    Args:
        source: the consent source.
    """

    def __init__(self, source: ConsentSource) -> None:
        self._source = source
        self._columns = [column for column, _ in source.columns]
        self._numbers: dict[Answer, int] = {}
        # The times so far: how far the farthest is from 1970, and whether there are any, and rows without one.
        self._farthest = 0
        self._has_times = self._has_undated = False

    @property
    def are_too_many(self) -> bool:
        """Whether there are so many different answers that numbers do not pay."""
        return len(self._numbers) > _MOST_ANSWERS

    def of(self, columns: Mapping[str, pa.Array]) -> list[pa.Array]:
        """Return the columns of `coded_columns` for some rows.

        Args:
            columns: the source's columns: texts, its time as a number, and maybe its subjects as integers.
        """
        subjects, time = columns[self._source.subject], self._source.time
        times = pa.nulls(len(subjects), pa.int64()) if time is None else columns[time]
        self._has_undated |= times.null_count > 0
        if times.null_count < len(times):
            bounds = pc.min_max(times)
            self._farthest = max(self._farthest, abs(bounds["min"].as_py()), abs(bounds["max"].as_py()))
            self._has_times = True
        return [subjects, self._coded([columns[name] for name in self._columns]), times]

    def _coded(self, values: Sequence[pa.Array]) -> pa.Array:
        places: NDArray[np.int64] = np.zeros(len(values[0]), dtype=np.int64)
        distinct: list[Answer] = [()]
        for column in values:
            encoded = column.dictionary_encode(null_encoding="encode")
            known = encoded.dictionary.to_pylist() or [None]
            pairs = places * len(known) + integers_of(encoded.indices)
            distinct = [(*answer, value) for answer in distinct for value in known]
            if len(values) > 1:
                found, places = numbered(pairs)
                distinct = [distinct[pair] for pair in found.tolist()]
            else:
                places = pairs
        own = [self._numbers.setdefault(answer, len(self._numbers)) for answer in distinct]
        return pa.array(np.array(own, dtype=np.int32)[places])

    def table(self) -> pa.Table:
        """Return the answers by their numbers."""
        columns = {
            value_column(place): pa.array([answer[place] for answer in self._numbers], pa.string())
            for place in range(len(self._columns))
        }
        return pa.table({"number": pa.array(range(len(self._numbers)), pa.int32()), **columns})

    def as_text(self, table: str) -> str:
        """Return the query for the source's own columns.

        Args:
            table: with `coded_columns`.
        """
        subject, time = self._source.subject, self._source.time
        values = [f"{value_column(place)} AS {_quoted(name)}" for place, name in enumerate(self._columns)]
        times = [] if time is None else [f"moment AS {_quoted(time)}"]
        return (
            f"SELECT {', '.join([f'subject AS {_quoted(subject)}', *values, *times])} "  # noqa: S608 - quoted names
            f"FROM {table} JOIN answers ON answers.number = {table}.answer"
        )

    def reduced(self, table: str, *, latest: int | None) -> str:
        """Return the query for the answer that counts and its doubt, for each subject.

        Args:
            table: as in `as_text`.
            latest: the latest time at which a row can have been recorded; None: any.
        """
        future = "" if latest is None else f" WHEN newest > {latest} THEN {int(Doubt.FUTURE)}"
        values = [
            f"CASE WHEN {DOUBT} = {int(Doubt.NONE)} THEN answers.{value_column(place)} END AS {value_column(place)}"
            for place in range(len(self._columns))
        ]
        # A time and a number are one sum, whose order is that of the time: the step is larger than every number.
        step = 1 << len(self._numbers).bit_length()
        whole = "BIGINT" if self._farthest * step + step < _SMALL_SUM else "HUGEINT"

        def last(answer: str) -> str:
            return f"max(moment::{whole} * {step} + {answer})" if self._has_times else "NULL"

        def undated(aggregate: str) -> str:
            return f"{aggregate}(answer) FILTER (WHERE moment IS NULL)" if self._has_undated else "NULL::INTEGER"

        return f"""
            SELECT {SUBJECT}, {", ".join(values)}, newest AS {TIME}, {DOUBT} FROM (
                SELECT *, CAST(CASE WHEN low <> high OR undated_low <> low OR undated_high <> low
                    THEN {int(Doubt.CONFLICT)}{future} ELSE {int(Doubt.NONE)} END AS INT) AS {DOUBT}
                FROM (
                    SELECT {SUBJECT}, newest, undated_low, undated_high,
                        coalesce(CAST(highest - newest::{whole} * {step} AS INT), undated_high) AS high,
                        coalesce({step - 1} - CAST(lowest - newest::{whole} * {step} AS INT), undated_low) AS low
                    FROM (
                        SELECT {SUBJECT}, max(moment) AS newest,
                            {last("answer")} AS highest, {last(f"{step - 1} - answer")} AS lowest,
                            {undated("min")} AS undated_low, {undated("max")} AS undated_high
                        FROM {table} WHERE {SUBJECT} IS NOT NULL GROUP BY {SUBJECT}
                    )
                )
            ) AS counted JOIN answers ON answers.number = counted.low"""  # noqa: S608 - numbers and names of this module


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
