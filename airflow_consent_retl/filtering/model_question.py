"""The question about consent to a model's source, built from the manifest of a permitted set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from airflow_consent_retl.databases.source import MoreMemoryNeededError
from airflow_consent_retl.storage.forgotten import NOBODY

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.consent import ColumnKind, ConsentMapping, ConsentPlan, ConsentPolicy
    from airflow_consent_retl.consent.removal import Required
    from airflow_consent_retl.extraction.reading import HookOf
    from airflow_consent_retl.filtering.asking import ConsentQuestion
    from airflow_consent_retl.filtering.consent_answers import ConsentAnswers
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.manifest import ModelSource
    from airflow_consent_retl.storage.source_sizes import SourceSizes


class Question(Protocol):
    """A question to a model's source about the people who are permitted now: all people, or those of another query."""

    @property
    def source(self) -> ModelSource: ...  # noqa: D102
    @property
    def hook_of(self) -> HookOf: ...  # noqa: D102
    @property
    def primary_key(self) -> str: ...  # noqa: D102
    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def forgotten(self) -> ForgottenPeople: ...  # noqa: D102
    @property
    def sizes(self) -> SourceSizes | None: ...  # noqa: D102
    def plan(self, kinds: Mapping[str, ColumnKind]) -> ConsentPlan: ...  # noqa: D102
    def among(self, sql: str) -> Question: ...  # noqa: D102
    def ask(self, id_type: pa.DataType) -> Iterator[ConsentAnswers]: ...  # noqa: D102


class ModelAsker:
    """The asker of one model's source about the people who are permitted now.

    Args:
        source: the source of the model's rows.
        primary_key: the model's primary key.
        columns: the names of all known columns of the model.
        mapping: the columns that contain consent.
        read_policy: reads the policy again for each question.
        hook_of: returns the hook of a connection; None: the model's connection.
        destinations: the destinations to decide for.
        log: the task's log.
        withdrawn_at: the column with the time at which consent last changed, if there is one.
        read_forgotten: reads the suppression list again for each question.
        read_sizes: returns how many rows the consent sources had at the model's last extraction; None: a source may
            have shrunk since.
        answers: the categories whose answers the destinations get.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        primary_key: str,
        columns: Sequence[str],
        mapping: ConsentMapping,
        read_policy: Callable[[], ConsentPolicy],
        hook_of: HookOf,
        destinations: Sequence[str],
        log: TaskLog,
        withdrawn_at: str | None = None,
        read_forgotten: Callable[[], ForgottenPeople] = lambda: NOBODY,
        read_sizes: Callable[[], SourceSizes | None] = lambda: None,
        answers: Collection[str] = (),
    ) -> None:
        self._source = source
        self._primary_key = primary_key
        self._columns = columns
        self._mapping = mapping
        self._read_policy = read_policy
        self._hook_of = hook_of
        self._destinations = destinations
        self._log = log
        self._withdrawn_at = withdrawn_at
        self._read_forgotten = read_forgotten
        self._read_sizes = read_sizes
        self._answers = tuple(answers)
        self._more_memory = False
        self._required_before: Required | None = None

    def check(self) -> bool:
        """Check policy and mapping without asking the source, and return whether any consent is needed.

        Raises:
            PolicyError: policy and mapping do not fit. The error contains every problem.
        """
        return self._question(None).needs_asking

    def policy_digest(self) -> str:
        """Return the digest of the present policy."""
        return self._read_policy().digest

    def is_unmapped(self, destination: str) -> bool:
        """Return whether the present policy permits everyone at a destination without saying so for it."""
        policy = self._read_policy()
        return (
            policy.unmapped_destinations == "permit"
            and not policy.required_for(destination)
            and policy.rule_for(destination).consent_required
        )

    def ask(self, id_type: pa.DataType) -> Iterator[ConsentAnswers]:
        """Ask the source under the present policy. The ids are returned in this type."""
        self._log.info("asking connection `%s` for consent again", self._source.conn_id)
        question = replace(self._question(id_type), more_memory=self._more_memory)
        return self._noting_memory(question.ask(at=datetime.now(UTC)))

    def _noting_memory(self, answers: Iterator[ConsentAnswers]) -> Iterator[ConsentAnswers]:
        try:
            yield from answers
        except MoreMemoryNeededError:
            self._more_memory = True
            raise

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the present policy needs for the destinations, with the primary key."""
        return self._question(None).wanted_columns

    @property
    def reads_model(self) -> bool:
        """Whether consent that is needed is in the model itself, not only in consent sources."""
        question = self._question(None)
        brought = {name for source in question.sources for name in source.brought}
        return not brought.issuperset(question.consent_columns)

    @property
    def forgotten(self) -> ForgottenPeople:
        """The people of the model who are on the suppression list now."""
        return self._read_forgotten()

    @property
    def sizes(self) -> SourceSizes | None:
        """How many rows the consent sources had at the model's last extraction; None: they are not compared."""
        return self._read_sizes()

    @property
    def primary_key(self) -> str:
        """The model's primary key."""
        return self._primary_key

    @property
    def source(self) -> ModelSource:
        """The source of the model's rows."""
        return self._source

    @property
    def hook_of(self) -> HookOf:
        """The function that returns the hook of a connection; None: the model's connection."""
        return self._hook_of

    def plan(self, kinds: Mapping[str, ColumnKind]) -> ConsentPlan:
        """Return the plan under the present policy.

        Raises:
            PolicyError: the policy does not fit the columns.
        """
        from airflow_consent_retl.consent import plan_consent

        return plan_consent(
            self._read_policy(),
            destinations=self._destinations,
            mapping=self._mapping,
            columns=kinds,
            known_columns=self._columns,
            at=datetime.now(UTC),
            answers=dict.fromkeys(self._destinations, self._answers),
        )

    def since(self, required_before: Required | None) -> ModelAsker:
        """Return an asker that knows which categories the destination required at the last load; None: not known."""
        asker = copy(self)
        asker._required_before = required_before
        return asker

    def among(self, sql: str) -> ModelAsker:
        """Return an asker for another query with the same columns, about some of the same people.

        The query already has the columns of consent sources.
        """
        asker = copy(self)
        asker._source = self._source.with_sql(sql)
        return asker

    def _question(self, id_type: pa.DataType | None) -> ConsentQuestion:
        import pyarrow as pa

        from airflow_consent_retl.consent import parse_source_document
        from airflow_consent_retl.databases.source import ModelQuery
        from airflow_consent_retl.filtering.asking import ConsentQuestion
        from airflow_consent_retl.values.columns import declared_types

        query = ModelQuery(
            conn_id=self._source.conn_id,
            sql=self._source.question_sql,
            primary_key=self._primary_key,
            column_types=declared_types(self._source.column_types),
            time_zone=self._source.time_zone,
        )
        return ConsentQuestion(
            hook=self._hook_of(None),
            query=query,
            columns=self._columns,
            mapping=self._mapping,
            id_type=id_type or pa.null(),
            policy=self._read_policy(),
            destinations=self._destinations,
            withdrawn_at=self._withdrawn_at,
            required_before=self._required_before,
            sources=tuple(map(parse_source_document, self._source.consent_sources)),
            hook_of=self._hook_of,
            log=self._log.info,
            forgotten=self.forgotten,
            sizes=self.sizes,
            answers=self._answers,
        )
