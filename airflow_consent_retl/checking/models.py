"""The check of a model: its connection, its query's columns, its sources, its primary key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.checking.model_columns import read_columns
from airflow_consent_retl.operators.bindings import sources_of_extraction
from airflow_consent_retl.operators.extract import ExtractModelOperator
from airflow_consent_retl.operators.model_source import model_source, with_identities

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.checking.findings import TaskFindings
    from airflow_consent_retl.checking.policies_read import PoliciesRead
    from airflow_consent_retl.consent import ColumnKind, ExternalConsent
    from airflow_consent_retl.consent.binding import ModelUse
    from airflow_consent_retl.storage.manifest import ModelSource


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A model as far as it is known.

    Args:
        name: of the model.
        primary_key: its primary key.
        use: what the policy can be held against; None: a parameter or a source is wrong.
        schema: its columns; None: they were not read.
    """

    name: str
    primary_key: str
    use: ModelUse | None
    schema: pa.Schema | None

    @property
    def kinds(self) -> dict[str, ColumnKind] | None:
        """The kinds of its columns, as a filter plans with them; None: they were not read."""
        from airflow_consent_retl.filtering.files import column_kinds
        from airflow_consent_retl.storage.manifest import Column

        if self.schema is None:
            return None
        return column_kinds(Column(name=field.name, type=str(field.type)) for field in self.schema)


def check_model_of(
    task: Any, policies: PoliciesRead, findings: TaskFindings, *, queries: list[str | None], connects: bool
) -> CheckedModel:
    """Check what a task reads, and return it.

    Args:
        task: an extraction or a fast lane, with its templates rendered.
        policies: the policies that tasks read.
        findings: about the task.
        queries: the task's queries.
        connects: whether databases are asked for the columns.
    """
    sources: tuple[ExternalConsent, ...] | None = None
    with findings.at("consent_sources"):
        sources = sources_of_extraction(
            model=task.model,
            conn_id=task.conn_id,
            primary_key=task.primary_key,
            queries=queries,
            hook_params=task.hook_params,
            declared=with_identities(task.consent_sources, task.identities),
            loaded=policies.binding(),
        )
    from airflow_consent_retl.databases.source import ModelQuery
    from airflow_consent_retl.values.columns import declared_types

    schema = None
    if sources is not None and connects:
        with findings.at(f"conn_id={task.conn_id}"):
            source = _source_of(task, sources)
            query = ModelQuery(
                conn_id=task.conn_id,
                sql=task.sql,
                primary_key=task.primary_key,
                column_types=declared_types(task.column_types),
                time_zone=source.time_zone,
            )
            with findings.at("sql"):
                schema = read_columns(query, source, sources)
    elif not connects:
        findings.note("unchecked", "sql", "the columns of the model are not read without a connection")
    return CheckedModel(task.model, task.primary_key, _use(task, queries, sources), schema)


def _source_of(task: Any, sources: tuple[ExternalConsent, ...]) -> ModelSource:
    if isinstance(task, ExtractModelOperator):
        return task.source_of(sources)
    return model_source(
        conn_id=task.conn_id,
        sql=task.sql,
        hook_params=task.hook_params,
        session_time_zone=task.session_time_zone,
        column_types=task.column_types,
        consent_sources=sources,
    )


def _use(task: Any, queries: list[str | None], sources: tuple[ExternalConsent, ...] | None) -> ModelUse | None:
    from airflow_consent_retl.consent.binding import ModelUse

    if sources is None:
        return None
    return ModelUse(
        model=task.model,
        connection=task.conn_id,
        primary_key=task.primary_key,
        queries=tuple(filter(None, queries)),
        hook_params=task.hook_params or {},
        sources=sources,
    )
