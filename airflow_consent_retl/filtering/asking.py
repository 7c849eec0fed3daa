"""The query that reads consent from a model's source again, before a load: one query over ids and consent columns.

The rows are decided under the present policy. An answer can only take permission away: a person that the source does
not contain, or contains more than once, is not permitted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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
    IdentityLinks,
    RemovalCause,
    plan_consent,
)
from airflow_consent_retl.databases.source import ModelQuery, MoreMemoryNeededError, read_model
from airflow_consent_retl.extraction.linked_rows import LinkedRows
from airflow_consent_retl.extraction.reading import HookOf, Log, reading_with_consent
from airflow_consent_retl.filtering.consent_answers import WITHOUT_FIELDS, ConsentAnswers
from airflow_consent_retl.filtering.found_verdicts import FoundVerdicts
from airflow_consent_retl.filtering.row_decider import FoundInRows, RowDecider
from airflow_consent_retl.filtering.silence import SilentCategories
from airflow_consent_retl.storage.forgotten import NOBODY, ForgottenPeople
from airflow_consent_retl.values.bounded_engine import bounded_engine
from airflow_consent_retl.values.pipeline import lean_memory
from airflow_consent_retl.values.temporary import temporary_folder

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.consent.removal import Required
    from airflow_consent_retl.storage.source_sizes import SourceSizes

_BATCH_ROWS = 131_072
# Nearly as fast as with more, for up to some ten million people; many more, or wide ids, need the second one.
_MEMORY_LIMIT, _MORE_MEMORY = "96MiB", "512MiB"
_TIME = pa.timestamp("us", tz="UTC")
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")

# Called with the type that the ids must have.
Ask = Callable[[pa.DataType], Iterator[ConsentAnswers]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentQuestion:
    """A question about consent to a model's source, under a policy.

    Args:
        hook: the hook of the model's connection.
        query: the model's query.
        columns: the names of all known columns of the model.
        mapping: the columns that contain consent.
        id_type: the type of the primary key in the snapshot. An id that is not exactly of this type is an error.
        policy: the present policy.
        destinations: the destinations to decide for.
        withdrawn_at: the column with the time at which consent last changed, if there is one.
        required_before: the categories that the destination required at the last load; None: not known.
        sources: the sources of consent that is not in the model.
        hook_of: returns the hook of a source's connection.
        log: gets messages about the sources.
        forgotten: the people of the model who were forgotten: no answer permits them.
        sizes: how many rows the sources had at the model's last extraction; None: they are not compared.
        answers: the categories whose answers the destinations get.
        more_memory: give an embedded engine its full memory, after `MoreMemoryNeededError`.
    """

    hook: DbApiHook
    query: ModelQuery
    columns: Sequence[str]
    mapping: ConsentMapping
    id_type: pa.DataType
    policy: ConsentPolicy
    destinations: Sequence[str]
    withdrawn_at: str | None = None
    required_before: Required | None = None
    sources: Sequence[ExternalConsent] = ()
    hook_of: HookOf | None = None
    log: Log = lambda message: None
    forgotten: ForgottenPeople = NOBODY
    sizes: SourceSizes | None = None
    answers: Collection[str] = ()
    more_memory: bool = False

    @property
    def needs_asking(self) -> bool:
        """Whether any category or identity is needed now; otherwise the policy alone decides, for all rows alike."""
        if any(isinstance(source, IdentityLinks) for source in self.sources):
            return True
        plan, at = self._plan(), datetime.now(UTC)
        nothing_read = (NULL_TOKEN,) * len(plan.signals)
        return plan.needs_rows or any(
            isinstance(answer, Denied) for answer in plan.decide_signature(nothing_read, at=at).decisions.values()
        )

    @property
    def consent_columns(self) -> list[str]:
        """The columns with the consent that the destinations need."""
        return [column for column in self._plan().consent_columns if column in self.columns]

    @property
    def answers_told(self) -> dict[str, Collection[str]]:
        """The categories whose answers are shared, by destination."""
        return dict.fromkeys(self.destinations, self.answers)

    @property
    def wanted_columns(self) -> tuple[str, ...]:
        """The columns that are read: the primary key, the columns with the needed consent, and the time."""
        needed = self.consent_columns
        time = [] if self.withdrawn_at is None else [self.withdrawn_at]
        return tuple(dict.fromkeys([self.query.primary_key, *needed, *time]))

    def _hook_of(self, conn_id: str | None) -> DbApiHook:
        return self.hook if conn_id is None or self.hook_of is None else self.hook_of(conn_id)

    def _plan(self) -> ConsentPlan:
        return plan_consent(
            self.policy,
            destinations=self.destinations,
            mapping=self.mapping,
            columns=None,
            at=datetime.now(UTC),
            answers=self.answers_told,
        )

    def ask(self, *, at: datetime) -> Iterator[ConsentAnswers]:
        """Run the query and decide its rows.

        Raises:
            PolicyError: the policy no longer fits the model's columns.
            ModelError, ConfigurationError: the query fails, or a source lost more rows than it may.
            RefusedError: the ids are of another kind than `id_type`.
            SourceUnavailableError: the source does not answer.
        """
        wanted = self.wanted_columns
        sources = [
            source
            for source in self.sources
            # A no of one who is linked to a person denies, wherever consent is kept.
            if isinstance(source, IdentityLinks) or set(source.brought).intersection(wanted)
        ]
        external = {name for source in sources for name in source.brought}
        own = tuple(dict.fromkeys([name for name in wanted if name not in external] + [str(s.key) for s in sources]))
        query = ModelQuery(
            conn_id=self.query.conn_id,
            sql=self.query.sql,
            primary_key=self.query.primary_key,
            column_types={name: type_ for name, type_ in self.query.column_types.items() if name in own},
            batch_rows=_BATCH_ROWS,
            more_memory=self.more_memory,
            columns=own,
            time_zone=self.query.time_zone,
        )
        with (
            reading_with_consent(
                lambda: read_model(self.hook, query),
                sources,
                hook_of=self._hook_of,
                conn_id=self.query.conn_id,
                time_zone=self.query.time_zone,
                at=at,
                log=self.log,
                # The extraction has warned.
                warn=self.log,
                sizes=self.sizes,
            ) as rows,
            ExitStack() as readers,
        ):
            deciders: dict[pa.Schema, RowDecider] = {}
            found = FoundInRows()

            def decider_of(schema: pa.Schema) -> RowDecider:
                # A source without declared types may know the type of a column only after some rows.
                if schema not in deciders:
                    deciders[schema] = readers.enter_context(RowDecider(self, schema, at, found))
                return deciders[schema]

            batches = rows.batches
            if isinstance(rows, LinkedRows):
                batches = _all_seen(rows, decider_of, readers)
            for batch in batches:
                yield decider_of(batch.schema).verdicts(batch)


def _all_seen(
    rows: LinkedRows, decider_of: Callable[[pa.Schema], RowDecider], resources: ExitStack
) -> Iterator[pa.RecordBatch]:
    """Yield linked rows after all of them were seen: a row is decided only when all its cluster is known."""
    folder = Path(resources.enter_context(temporary_folder()))
    first = decider_of(rows.schema)
    links = first.linked(rows.clusters)
    waiting = []
    for number, batch in enumerate(rows.batches):
        decider_of(batch.schema).see(batch, links)
        waiting.append(folder / f"{number:08d}.arrow")
        with pa.ipc.new_file(str(waiting[-1]), batch.schema, options=_COMPRESSED) as file:
            file.write_batch(batch)
    for batch in rows.linked():
        first.see_outsiders(batch, links)
    links.settle()
    for path in waiting:
        with pa.ipc.open_file(str(path)) as file:
            yield file.get_batch(0)
        path.unlink()


class SubjectIndex:
    """Ids by position, to compare with a source's present answers. A context manager; its spill files are private.

    Args:
        ids: the ids in the order of their positions, which start at 0.
        id_type: the type of all ids.
    """

    def __init__(self, ids: Iterable[pa.Array], id_type: pa.DataType) -> None:
        self.id_type = id_type
        # The times of people that the last answer did not permit, as far as the source has them.
        self.moments: list[datetime] = []
        # The positions of permitted people from whose rows fields are withheld, by these fields.
        self.partial: dict[tuple[str, ...], NDArray[np.int64]] = {}
        # The opt-out categories to which no row of the last answer has an answer, whoever the row is about.
        self.silent: tuple[str, ...] = ()
        self._resources = ExitStack()
        with ExitStack() as opening:
            # The caller's thread reads the answers: SQLite's cursors work in no other thread.
            self._connection = opening.enter_context(bounded_engine(_MEMORY_LIMIT))
            self._fill(ids)
            self._resources = opening.pop_all()

    def asked(self, ask: Ask, destination: str) -> dict[RemovalCause, NDArray[np.int64]]:
        """Ask, and return `not_permitted`; ask again where more memory is needed: for a plain scan, or for the ids."""
        with lean_memory():
            try:
                return self.not_permitted(ask(self.id_type), destination)
            except MoreMemoryNeededError:
                pass
            except duckdb.OutOfMemoryException:
                self._connection.execute(f"SET memory_limit = '{_MORE_MEMORY}'")
            return self.not_permitted(ask(self.id_type), destination)

    def not_permitted(
        self, answers: Iterator[ConsentAnswers], destination: str
    ) -> dict[RemovalCause, NDArray[np.int64]]:
        """Return the positions of the people who are not permitted now, by cause, ascending.

        A person that no answer names is removed for `left_model`. A person that several answers name is removed for
        `id_ambiguous`, unless one of them has a stronger cause.
        """
        failures: list[BaseException] = []
        schema = pa.schema([("id", self.id_type), ("verdict", pa.int16()), ("moment", _TIME)])
        partial: Sequence[tuple[str, ...]] = ()
        silent = SilentCategories()

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal partial, silent
            try:
                for answer in answers:
                    partial, silent = answer.partial, answer.silent
                    verdicts = pa.array(answer.by_destination[destination])
                    times = pa.nulls(len(answer.ids), _TIME) if answer.moments is None else answer.moments
                    yield pa.RecordBatch.from_arrays([answer.ids, verdicts, times], schema=schema)
            except GeneratorExit:
                # The reader ended before the answers did: its own error counts.
                raise
            except BaseException as failure:
                # Arrow would replace it with another error, also a timeout of the task, which is no `Exception`.
                failures.append(failure)
                raise

        found = FoundVerdicts(self._people)
        self._connection.register("answers", pa.RecordBatchReader.from_batches(schema, batches()))
        try:
            for rows in self._connection.sql(_ABOUT_PEOPLE).to_arrow_reader(_BATCH_ROWS):
                found.add(rows)
        except (duckdb.Error, OSError, pa.ArrowException):
            if failures:
                raise failures[0] from None
            raise
        finally:
            self._connection.unregister("answers")
        if failures:
            # An answer that broke off is no answer: who comes later in it would count as missing.
            raise failures[0]
        self.silent = silent.found
        positions, causes = found.not_permitted()
        self.moments = found.moments(positions[causes < WITHOUT_FIELDS])
        self.partial = {fields: positions[causes == number] for number, fields in enumerate(partial, WITHOUT_FIELDS)}
        return {cause: positions[causes == cause.rank] for cause in RemovalCause if (causes == cause.rank).any()}

    def _fill(self, ids: Iterable[pa.Array]) -> None:
        schema = pa.schema([("position", pa.int64()), ("id", self.id_type)])
        start = 0

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal start
            for chunk in ids:
                positions = pa.array(np.arange(start, start + len(chunk), dtype=np.int64))
                yield pa.RecordBatch.from_arrays([positions, chunk], schema=schema)
                start += len(chunk)

        self._connection.register("people_read", pa.RecordBatchReader.from_batches(schema, batches()))
        self._connection.execute("CREATE TEMP TABLE people AS SELECT position, id FROM people_read")
        self._connection.unregister("people_read")
        self._people = start

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()


_ABOUT_PEOPLE = "SELECT position, verdict, moment FROM answers JOIN people USING (id)"
