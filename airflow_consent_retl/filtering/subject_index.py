"""Ids of people by position, which a source's present answers are compared with.

Ids that are whole numbers close together are looked up in a table, in a third of the time that other ids take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.databases.source import MoreMemoryNeededError
from airflow_consent_retl.filtering.consent_answers import WITHOUT_FIELDS, ConsentAnswers
from airflow_consent_retl.filtering.people_by_number import PeopleByNumber
from airflow_consent_retl.filtering.people_in_parts import PeopleInParts, answers_schema
from airflow_consent_retl.filtering.silence import SilentCategories
from airflow_consent_retl.values.pipeline import lean_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Called with the type that the ids must have.
Ask = Callable[[pa.DataType], Iterator[ConsentAnswers]]


class SubjectIndex:
    """Ids by position, to compare with a source's present answers. A context manager; its spill files are private.

    Args:
        ids: the ids in the order of their positions, which start at 0. An id may occur more than once.
        id_type: the type of all ids.
        people: how many ids there are, roughly.
    """

    def __init__(self, ids: Iterable[pa.Array], id_type: pa.DataType, *, people: int) -> None:
        self.id_type = id_type
        # The times of people that the last answer did not permit, as far as the source has them.
        self.moments: list[datetime] = []
        # The positions of permitted people from whose rows fields are withheld, by these fields.
        self.partial: dict[tuple[str, ...], NDArray[np.int64]] = {}
        # The opt-out categories to which no row of the last answer has an answer, whoever the row is about.
        self.silent: tuple[str, ...] = ()
        self._in_parts = PeopleInParts(id_type, people=people)
        self._by_number = PeopleByNumber(id_type, people=people) if pa.types.is_integer(id_type) else None
        with ExitStack() as opening, lean_memory():
            opening.callback(self._in_parts.close)
            self._fill(ids)
            opening.pop_all()

    def asked(self, ask: Ask, destination: str) -> dict[RemovalCause, NDArray[np.int64]]:
        """Ask, and return `not_permitted`; ask again where a plain scan needs more memory."""
        with lean_memory():
            try:
                return self.not_permitted(ask(self.id_type), destination)
            except MoreMemoryNeededError:
                return self.not_permitted(ask(self.id_type), destination)

    def not_permitted(
        self, answers: Iterator[ConsentAnswers], destination: str
    ) -> dict[RemovalCause, NDArray[np.int64]]:
        """Return the positions of the people who are not permitted now, by cause, ascending.

        A person that no answer names is removed for `left_model`. A person that several answers name is removed for
        `id_ambiguous`, unless one of them has a stronger cause.
        """
        partial: Sequence[tuple[str, ...]] = ()
        silent = SilentCategories()
        schema = answers_schema(self.id_type)

        def rows() -> Iterator[pa.RecordBatch]:
            nonlocal partial, silent
            for answer in answers:
                partial, silent = answer.partial, answer.silent
                verdicts = pa.array(answer.by_destination[destination])
                times = answer.moments
                if times is None:
                    times = pa.nulls(len(answer.ids), schema.field("moment").type)
                yield pa.RecordBatch.from_arrays([answer.ids, verdicts, times], schema=schema)

        # An answer that breaks off raises its error: who comes later in it would count as missing.
        denials = (self._by_number or self._in_parts).denials(rows())
        positions, verdicts = denials.positions, denials.verdicts
        self.silent, self.moments = silent.found, denials.moments
        self.partial = {fields: positions[verdicts == number] for number, fields in enumerate(partial, WITHOUT_FIELDS)}
        return {cause: positions[verdicts == cause.rank] for cause in RemovalCause if (verdicts == cause.rank).any()}

    def _fill(self, ids: Iterable[pa.Array]) -> None:
        start = 0
        for chunk in ids:
            if self._by_number is not None and not self._by_number.add(chunk, start):
                self._fill_parts(self._by_number)
                self._by_number = None
            if self._by_number is None:
                self._in_parts.add(chunk, start)
            start += len(chunk)

    def _fill_parts(self, people: PeopleByNumber) -> None:
        start = 0
        for ids in people.ids():
            self._in_parts.add(ids, start)
            start += len(ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._in_parts.close()
