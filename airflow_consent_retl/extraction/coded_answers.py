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

from airflow_consent_retl.consent import ConsentSource, Doubt
from airflow_consent_retl.extraction.consent_expressions import DOUBT, SUBJECT, TIME, value_column
from airflow_consent_retl.values.buffers import integers_of
from airflow_consent_retl.values.numbered import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Answer = tuple[str | None, ...]

CODED_COLUMNS = {SUBJECT: "VARCHAR", "answer": "INTEGER", "moment": "BIGINT"}
_MOST_ANSWERS = 1 << 14
# Larger than every number of an answer: a time and a number are one sum, whose order is that of the time.
_STEP = 1 << 20


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

    @property
    def are_too_many(self) -> bool:
        """Whether there are so many different answers that numbers do not pay."""
        return len(self._numbers) > _MOST_ANSWERS

    def of(self, columns: Mapping[str, pa.Array]) -> list[pa.Array]:
        """Return the columns of `CODED_COLUMNS` for some rows.

        Args:
            columns: the source's columns: texts, and its time as a number.
        """
        subjects, time = columns[self._source.subject], self._source.time
        times = pa.nulls(len(subjects), pa.int64()) if time is None else columns[time]
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
            table: with `CODED_COLUMNS`.
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
        undated = "FILTER (WHERE moment IS NULL)"
        return f"""
            SELECT {SUBJECT}, {", ".join(values)}, newest AS {TIME}, {DOUBT} FROM (
                SELECT *, CAST(CASE WHEN low <> high OR undated_low <> low OR undated_high <> low
                    THEN {int(Doubt.CONFLICT)}{future} ELSE {int(Doubt.NONE)} END AS INT) AS {DOUBT}
                FROM (
                    SELECT {SUBJECT}, newest, undated_low, undated_high,
                        coalesce(CAST(highest - newest::HUGEINT * {_STEP} AS INT), undated_high) AS high,
                        coalesce({_STEP - 1} - CAST(lowest - newest::HUGEINT * {_STEP} AS INT), undated_low) AS low
                    FROM (
                        SELECT {SUBJECT}, max(moment) AS newest,
                            max(moment::HUGEINT * {_STEP} + answer) AS highest,
                            max(moment::HUGEINT * {_STEP} + {_STEP - 1} - answer) AS lowest,
                            min(answer) {undated} AS undated_low, max(answer) {undated} AS undated_high
                        FROM {table} WHERE {SUBJECT} IS NOT NULL GROUP BY {SUBJECT}
                    )
                )
            ) AS counted JOIN answers ON answers.number = counted.low"""  # noqa: S608 - numbers and names of this module


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
