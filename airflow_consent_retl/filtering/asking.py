"""Asks a model's source for consent again: one query over ids and consent columns, decided under the present policy.

An answer can only take permission away. Somebody of whom the source says nothing, or two things, is not permitted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import duckdb
import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent import (
    NULL_TOKEN,
    ConsentMapping,
    ConsentPlan,
    ConsentPolicy,
    Denied,
    RemovalCause,
    cause_of,
    plan_consent,
)
from airflow_consent_retl.databases.source import ModelQuery, read_model
from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.extraction.consent_files import HookOf, Log, reading_with_consent
from airflow_consent_retl.filtering.files import column_kinds
from airflow_consent_retl.filtering.signatures import SignatureReader
from airflow_consent_retl.storage.manifest import Column
from airflow_consent_retl.values.columns import cast

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import ExternalConsent

_BATCH_ROWS = 131_072
_MEMORY_LIMIT = "256MiB"
_MOMENT = pa.timestamp("us", tz="UTC")

# A verdict is a number: 0 permits, n is the n-th of these causes.
PERMITTED = 0
CAUSES = tuple(RemovalCause)


@dataclass(frozen=True, slots=True)
class ConsentAnswers:
    """What the source says now, for some of its rows.

    Args:
        ids: none of which is NULL.
        by_destination: a number for each row, see `PERMITTED` and `CAUSES`; beyond these, the row is permitted without
            the fields that `partial` has there.
        moments: when the row's consent last changed, in UTC; None where nobody asked for it.
    """

    ids: pa.Array
    by_destination: Mapping[str, NDArray[np.int16]]
    moments: pa.Array | None = None
    partial: Sequence[tuple[str, ...]] = ()


# Told of which type the ids have to be.
Ask = Callable[[pa.DataType], Iterator[ConsentAnswers]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentQuestion:
    """What is asked, of which source, under which policy.

    Args:
        hook: of the model's connection.
        query: the model's.
        columns: the names of all columns that the model is known to have.
        mapping: which of them hold consent.
        id_type: of the primary key in the snapshot; an id that is not exactly of this type fails the question.
        policy: as it is now.
        destinations: to decide for.
        withdrawn_at: the column with the time at which consent last changed, if there is one.
        sources: where else consent is kept.
        hook_of: returns the hook of their connections.
        log: for what a person should know of them.
    """

    hook: DbApiHook
    query: ModelQuery
    columns: Sequence[str]
    mapping: ConsentMapping
    id_type: pa.DataType
    policy: ConsentPolicy
    destinations: Sequence[str]
    withdrawn_at: str | None = None
    sources: Sequence[ExternalConsent] = ()
    hook_of: HookOf | None = None
    log: Log = lambda message: None

    @property
    def needs_asking(self) -> bool:
        """Whether any category is needed now; otherwise the policy alone decides, for everybody alike."""
        plan, at = self._plan(), datetime.now(UTC)
        nothing_read = (NULL_TOKEN,) * len(plan.signals)
        return plan.needs_rows or any(
            isinstance(answer, Denied) for answer in plan.decide_signature(nothing_read, at=at).decisions.values()
        )

    @property
    def wanted_columns(self) -> tuple[str, ...]:
        """The columns that are read: the primary key, those that hold consent that is needed now, and the time."""
        needed = [column for column in self._plan().consent_columns if column in self.columns]
        moment = [] if self.withdrawn_at is None else [self.withdrawn_at]
        return tuple(dict.fromkeys([self.query.primary_key, *needed, *moment]))

    def _hook_of(self, conn_id: str | None) -> DbApiHook:
        return self.hook if conn_id is None or self.hook_of is None else self.hook_of(conn_id)

    def _plan(self) -> ConsentPlan:
        return plan_consent(
            self.policy, destinations=self.destinations, mapping=self.mapping, columns=None, at=datetime.now(UTC)
        )

    def ask(self, *, at: datetime) -> Iterator[ConsentAnswers]:
        """Run the query and decide its rows.

        Raises:
            PolicyError: the policy does not fit the model's columns any more.
            ModelError, ConfigurationError: the query fails.
            SourceUnavailableError: the source does not answer.
        """
        wanted = self.wanted_columns
        sources = [source for source in self.sources if set(source.brought).intersection(wanted)]
        elsewhere = {name for source in sources for name in source.brought}
        own = tuple(dict.fromkeys([name for name in wanted if name not in elsewhere] + [str(s.key) for s in sources]))
        query = ModelQuery(
            conn_id=self.query.conn_id,
            sql=self.query.sql,
            primary_key=self.query.primary_key,
            column_types={name: type_ for name, type_ in self.query.column_types.items() if name in own},
            batch_rows=_BATCH_ROWS,
            more_memory=True,
            columns=own,
        )
        with (
            reading_with_consent(
                lambda: read_model(self.hook, query),
                sources,
                hook_of=self._hook_of,
                conn_id=self.query.conn_id,
                at=at,
                log=self.log,
            ) as rows,
            ExitStack() as readers,
        ):
            deciders: dict[pa.Schema, _Decider] = {}
            partial: list[tuple[str, ...]] = []
            for batch in rows.batches:
                # A source without types of its own may know a column's only after some rows.
                decider = deciders.get(batch.schema)
                if decider is None:
                    decider = deciders[batch.schema] = readers.enter_context(_Decider(self, batch.schema, at, partial))
                yield decider.verdicts(batch)


class _Decider:
    """Decides the rows of one schema, each signature once."""

    def __init__(
        self, question: ConsentQuestion, schema: pa.Schema, at: datetime, partial: list[tuple[str, ...]]
    ) -> None:
        self._question = question
        # Shared by all of one answer: what is withheld of those who are permitted less than everything.
        self._partial = partial
        self._at = at
        kinds = column_kinds(Column(name=field.name, type=str(field.type)) for field in schema)
        self._plan: ConsentPlan = plan_consent(
            question.policy,
            destinations=question.destinations,
            mapping=question.mapping,
            columns=kinds,
            # Only what this destination needs was read.
            known_columns=question.columns,
            at=at,
        )
        self._reader = SignatureReader(self._plan.signals)
        self._decided: dict[int, Mapping[str, int]] = {}

    def verdicts(self, rows: pa.RecordBatch) -> ConsentAnswers:
        primary_key = self._question.query.primary_key
        if rows.column(primary_key).null_count:
            rows = rows.filter(rows.column(primary_key).is_valid())
        codes, places = np.unique(self._reader.codes(rows), return_inverse=True)
        decided = [self._decide(code) for code in codes.tolist()]
        return ConsentAnswers(
            ids=cast(rows.column(primary_key), self._question.id_type, column=primary_key),
            by_destination={
                name: np.array([numbers[name] for numbers in decided], dtype=np.int16)[places]
                for name in self._plan.destinations
            },
            moments=self._moments(rows),
            partial=self._partial,
        )

    def _moments(self, rows: pa.RecordBatch) -> pa.Array | None:
        name = self._question.withdrawn_at
        if name is None:
            return None
        moments = rows.column(name)
        if pa.types.is_null(moments.type):
            return moments.cast(_MOMENT)
        if not pa.types.is_timestamp(moments.type) or moments.type.tz is None:
            raise ModelError(f"column `{name}` is {moments.type}: a time of withdrawal is a timestamp with a zone")
        return moments.cast(_MOMENT, safe=False)

    def _decide(self, code: int) -> Mapping[str, int]:
        if code not in self._decided:
            decision = self._plan.decide_signature(self._reader.tokens(code), at=self._at)
            self._decided[code] = {
                name: CAUSES.index(cause_of(answer)) + 1
                if isinstance(answer, Denied)
                else self._verdict_without(decision.withheld.get(name, ()))
                for name, answer in decision.decisions.items()
            }
        return self._decided[code]

    def _verdict_without(self, fields: tuple[str, ...]) -> int:
        if not fields:
            return PERMITTED
        if fields not in self._partial:
            self._partial.append(fields)
        return len(CAUSES) + 1 + self._partial.index(fields)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.close()


class SubjectIndex:
    """Ids by position, held against what a source says now. A context manager; what it spills is private and goes.

    Args:
        ids: in the order of their positions, which begin at 0.
        id_type: of all of them.
    """

    def __init__(self, ids: Iterable[pa.Array], id_type: pa.DataType) -> None:
        self.id_type = id_type
        # Of those whom the last answer did not permit, where the source has their time.
        self.moments: list[datetime] = []
        # Of those whom it permitted, the positions of who goes without some fields.
        self.partial: dict[tuple[str, ...], NDArray[np.int64]] = {}
        self._resources = ExitStack()
        with ExitStack() as opening:
            spill = opening.enter_context(tempfile.TemporaryDirectory(prefix="consent-retl-"))
            Path(spill).chmod(0o700)
            # With one thread, it is the caller's that pulls the answers: SQLite's cursors serve no other.
            self._connection = opening.enter_context(
                duckdb.connect(config={"memory_limit": _MEMORY_LIMIT, "temp_directory": spill, "threads": "1"})
            )
            self._fill(ids)
            self._resources = opening.pop_all()

    def not_permitted(
        self, answers: Iterator[ConsentAnswers], destination: str
    ) -> dict[RemovalCause, NDArray[np.int64]]:
        """Return the positions of the people who are not permitted now, by cause, ascending.

        Those whom no answer names are under `left_model`, those whom several name under `id_ambiguous`.
        """
        failures: list[BaseException] = []
        schema = pa.schema([("id", self.id_type), ("verdict", pa.int16()), ("moment", _MOMENT)])
        partial: Sequence[tuple[str, ...]] = ()

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal partial
            try:
                for answer in answers:
                    partial = answer.partial
                    verdicts = pa.array(answer.by_destination[destination])
                    moments = pa.nulls(len(answer.ids), _MOMENT) if answer.moments is None else answer.moments
                    yield pa.RecordBatch.from_arrays([answer.ids, verdicts, moments], schema=schema)
            except BaseException as failure:
                # Arrow would make another error of it.
                failures.append(failure)
                raise

        self._connection.register("answers", pa.RecordBatchReader.from_batches(schema, batches()))
        try:
            found = self._connection.sql(_NOT_PERMITTED).to_arrow_table()
        except (duckdb.Error, OSError, pa.ArrowException):
            if failures:
                raise failures[0] from None
            raise
        finally:
            self._connection.unregister("answers")
        positions = np.from_dlpack(found.column("position").combine_chunks())
        causes = np.from_dlpack(found.column("cause").combine_chunks())
        self.moments = found.filter(pa.array(causes <= len(CAUSES))).column("moment").drop_null().to_pylist()
        self.partial = {
            fields: np.sort(positions[causes == number]) for number, fields in enumerate(partial, start=len(CAUSES) + 1)
        }
        return {
            cause: np.sort(positions[causes == number])
            for number, cause in enumerate(CAUSES, start=1)
            if (causes == number).any()
        }

    def _fill(self, ids: Iterable[pa.Array]) -> None:
        schema = pa.schema([("position", pa.int64()), ("id", self.id_type)])

        def batches() -> Iterator[pa.RecordBatch]:
            start = 0
            for some in ids:
                positions = pa.array(np.arange(start, start + len(some), dtype=np.int64))
                yield pa.RecordBatch.from_arrays([positions, some], schema=schema)
                start += len(some)

        self._connection.register("people_read", pa.RecordBatchReader.from_batches(schema, batches()))
        self._connection.execute("CREATE TEMP TABLE people AS SELECT position, id FROM people_read")
        self._connection.unregister("people_read")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()


_WITHDRAWN = CAUSES.index(RemovalCause.CONSENT_WITHDRAWN) + 1
_NOT_PERMITTED = f"""
WITH said AS (
    SELECT id, count(*) AS times, max(verdict) AS verdict, bool_or(verdict = {_WITHDRAWN}) AS refused,
        max(moment) AS moment
    FROM answers WHERE id IN (SELECT id FROM people) GROUP BY id
), held AS (
    SELECT position, moment, CASE
        WHEN times IS NULL THEN {CAUSES.index(RemovalCause.LEFT_MODEL) + 1}
        WHEN refused THEN {_WITHDRAWN}
        WHEN times > 1 THEN {CAUSES.index(RemovalCause.ID_AMBIGUOUS) + 1}
        ELSE verdict
    END AS cause
    FROM people LEFT JOIN said USING (id)
)
SELECT position, cause::SMALLINT AS cause, moment FROM held WHERE cause != {PERMITTED}
"""  # noqa: S608 - numbers of this module only
