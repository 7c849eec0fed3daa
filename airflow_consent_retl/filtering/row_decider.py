"""The decider of a source's present rows: each signature is decided once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent import CLUSTER, ConsentPlan, Denied, SubjectCode, cause_of, plan_consent
from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.filtering.clusters import LinkedSignatures, outsider_codes
from airflow_consent_retl.filtering.consent_answers import PERMITTED, WITHOUT_FIELDS, ConsentAnswers
from airflow_consent_retl.filtering.files import column_kinds
from airflow_consent_retl.filtering.signatures import SignatureReader
from airflow_consent_retl.filtering.silence import SilentCategories
from airflow_consent_retl.storage.manifest import Column
from airflow_consent_retl.values.columns import cast
from airflow_consent_retl.values.ids import meeting_type
from airflow_consent_retl.values.numbered import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import Signature, SubjectStatus
    from airflow_consent_retl.filtering.asking import ConsentQuestion

_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class FoundInRows:
    """Findings in the rows of one answer, by all deciders of it.

    Args:
        partial: the fields that are withheld from some permitted rows.
        silent: the opt-out categories without any answer.
    """

    partial: list[tuple[str, ...]] = field(default_factory=list)
    silent: SilentCategories = field(default_factory=SilentCategories)


class RowDecider:
    """The decider of the rows of one schema. It decides each signature once."""

    def __init__(self, question: ConsentQuestion, schema: pa.Schema, at: datetime, found: FoundInRows) -> None:
        self._question = question
        # What the people say who are linked to the rows; None: the model has no identities.
        self._links: LinkedSignatures | None = None
        self._partial, self._silent = found.partial, found.silent
        self._at = at
        kinds = column_kinds(Column(name=field.name, type=str(field.type)) for field in schema)
        self._plan: ConsentPlan = plan_consent(
            question.policy,
            destinations=question.destinations,
            mapping=question.mapping,
            columns=kinds,
            # Only the columns that these destinations need were read.
            known_columns=question.columns,
            at=at,
            answers=question.answers_told,
        )
        self._reader = SignatureReader(self._plan.signals)
        self._decided: dict[int, Mapping[str, int]] = {}

    def linked(self, clusters: int) -> LinkedSignatures:
        """Return the signatures of linked rows, of which none is seen yet."""
        return LinkedSignatures(self._plan, clusters)

    def see(self, rows: pa.RecordBatch, links: LinkedSignatures) -> None:
        """Add what some rows say to those in their clusters. Their verdicts count it, once `links` is settled."""
        self._links = links
        links.see(links.signatures(self._own_codes(rows), self._read_own), rows.column(CLUSTER))

    def see_outsiders(self, rows: pa.RecordBatch, links: LinkedSignatures) -> None:
        """Add what people say who are linked to the model's, and have no row."""
        codes = outsider_codes(rows, self._reader, self._question.forgotten)
        links.see(links.signatures(codes, self._read_own), rows.column(CLUSTER))

    def verdicts(self, rows: pa.RecordBatch) -> ConsentAnswers:
        """Return the verdicts about the rows that have an id."""
        primary_key = self._question.query.primary_key
        self._check_id_type(rows.schema.field(primary_key).type)
        if rows.column(primary_key).null_count:
            rows = rows.filter(rows.column(primary_key).is_valid())
        codes, places = numbered(self._codes(rows))
        decided = [self._decide(code) for code in codes.tolist()]
        return ConsentAnswers(
            ids=cast(rows.column(primary_key), self._question.id_type, column=primary_key),
            by_destination={
                name: np.array([numbers[name] for numbers in decided], dtype=np.int16)[places]
                for name in self._plan.destinations
            },
            moments=self._times(rows),
            partial=self._partial,
            silent=self._silent,
        )

    def _codes(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        codes, links = self._own_codes(rows), self._links
        return codes if links is None else links.codes(links.signatures(codes, self._read_own), rows.column(CLUSTER))

    def _own_codes(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        codes = self._reader.codes(rows) * len(SubjectCode)
        forgotten = self._question.forgotten
        if forgotten:
            codes[forgotten.among(rows.column(self._question.query.primary_key))] += SubjectCode.FORGOTTEN
        return codes

    def _check_id_type(self, type_: pa.DataType) -> None:
        """Raise `RefusedError` if ids of this type cannot equal the known ids: no one would be found."""
        known = self._question.id_type
        if not pa.types.is_null(type_) and not pa.types.is_null(known):
            meeting_type(known, type_, primary_key=self._question.query.primary_key)

    def _times(self, rows: pa.RecordBatch) -> pa.Array | None:
        name = self._question.withdrawn_at
        if name is None:
            return None
        times = rows.column(name)
        if pa.types.is_null(times.type):
            return times.cast(_TIME)
        if not pa.types.is_timestamp(times.type) or times.type.tz is None:
            raise ModelError(f"column `{name}` is {times.type}: a time of withdrawal must be a timestamp with a zone")
        return times.cast(_TIME, safe=False)

    def _decide(self, code: int) -> Mapping[str, int]:
        if code not in self._decided:
            subject, tokens = self._read_own(code) if self._links is None else self._links.read(code)
            self._silent.see(self._plan, tokens)
            decision = self._plan.decide_signature(tokens, subject, at=self._at)
            self._decided[code] = {
                name: cause_of(answer, required_before=self._question.required_before).rank
                if isinstance(answer, Denied)
                else self._verdict_without(decision.withheld.get(name, ()))
                for name, answer in decision.decisions.items()
            }
        return self._decided[code]

    def _read_own(self, code: int) -> tuple[SubjectStatus, Signature]:
        signature, subject = divmod(code, len(SubjectCode))
        return SubjectCode(subject).status, self._reader.tokens(signature)

    def _verdict_without(self, fields: tuple[str, ...]) -> int:
        if not fields:
            return PERMITTED
        if fields not in self._partial:
            self._partial.append(fields)
        return WITHOUT_FIELDS + self._partial.index(fields)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.close()
