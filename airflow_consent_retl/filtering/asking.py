"""The query that reads consent from a model's source again, before a load: one query over ids and consent columns.

The rows are decided under the present policy. An answer can only take permission away: a person that the source does
not contain, or contains more than once, is not permitted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.consent import (
    NULL_TOKEN,
    ConsentMapping,
    ConsentPlan,
    ConsentPolicy,
    Denied,
    IdentityLinks,
    plan_consent,
)
from airflow_consent_retl.databases.source import ModelQuery, read_model
from airflow_consent_retl.extraction.linked_rows import LinkedRows
from airflow_consent_retl.extraction.reading import HookOf, Log, reading_with_consent
from airflow_consent_retl.filtering.row_decider import FoundInRows, RowDecider
from airflow_consent_retl.storage.forgotten import NOBODY, ForgottenPeople
from airflow_consent_retl.values.temporary import temporary_folder

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.consent.removal import Required
    from airflow_consent_retl.filtering.consent_answers import ConsentAnswers
    from airflow_consent_retl.storage.source_sizes import SourceSizes

_BATCH_ROWS = 32_768
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


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
