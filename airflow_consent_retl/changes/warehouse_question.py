"""The question about some people, as a query that the warehouse runs over its own tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.changes.warehouse_comparison import only_people
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.databases.plain_query import plain_query
from airflow_consent_retl.extraction.consent_warehouse import joined_sql, reachable, sources_of
from airflow_consent_retl.extraction.linked_people import identities_of
from airflow_consent_retl.extraction.warehouse import warehouse_snapshot

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.databases.staging import StagingTable, Warehouse
    from airflow_consent_retl.filtering.model_question import Question
    from airflow_consent_retl.storage.manifest import SnapshotManifest


def links_people(question: Question) -> bool:
    """Return whether a model has identities: then no question about some people alone can be answered."""
    return identities_of(sources_of(question.source)) is not None


@contextmanager
def query_of_everyone(warehouse: Warehouse, question: Question, id_type: pa.DataType) -> Iterator[str]:
    """Yield the model's query for the columns that the question needs, joined with consent from other sources.

    Args:
        warehouse: entered.
        question: asks the model's source.
        id_type: of the ids.
    """
    dialect = dialect_of(warehouse.dialect, id_type)

    def everyone(columns: list[str], model: str) -> str:
        return dialect.compile(
            placeholder("model", dict.fromkeys(columns, "string")).select(*columns), {"model": model}
        )

    with _with_consent(warehouse, question, everyone) as sql:
        yield sql


@contextmanager
def query_of_people(
    warehouse: Warehouse, question: Question, people: Any, table: StagingTable, id_type: pa.DataType
) -> Iterator[str]:
    """Yield the model's query for the rows of some people only, joined with their consent from other sources.

    Args:
        warehouse: entered.
        question: asks the model's source.
        people: an expression over the placeholder `people`, or over the table itself.
        table: the table of the people.
        id_type: of the ids.
    """
    dialect = dialect_of(warehouse.dialect, id_type)

    def some(columns: list[str], model: str) -> str:
        expression = only_people(dialect, columns, primary_key=question.primary_key, people=people)
        return dialect.compile(expression, {"model": model, "people": warehouse.name_of(table)})

    with _with_consent(warehouse, question, some) as sql:
        yield sql


@contextmanager
def _with_consent(warehouse: Warehouse, question: Question, rows_of: Callable[[list[str], str], str]) -> Iterator[str]:
    """Yield a query of the model's rows, joined with their consent from other sources.

    Args:
        warehouse: entered.
        question: asks the model's source.
        rows_of: returns the query of the rows, for columns and the model's own query.
    """
    # On lines of its own, so that a comment at its end does not comment out the rest.
    model = f"(\n{plain_query(question.source.question_sql, dialect=warehouse.dialect)}\n)"
    sources = [source for source in sources_of(question.source) if set(source.brought).intersection(question.columns)]
    brought = {name for source in sources for name in source.brought}
    own = [name for name in question.columns if name not in brought]
    keys = [str(source.key) for source in sources]
    some = rows_of(list(dict.fromkeys([*own, *keys])), model)
    if not sources:
        yield some
        return
    with reachable(
        warehouse,
        sources,
        at=datetime.now(UTC),
        staged=False,
        time_zone=question.source.time_zone,
        hook_of=question.hook_of,
        sizes=question.sizes,
    ) as places:
        yield joined_sql(warehouse, sources, model=f"(\n{some}\n)", columns=own, places=places)


@contextmanager
def snapshot_of_answers(
    warehouse: Warehouse, question: Question, sql: str, *, model: str, at: datetime
) -> Iterator[tuple[SnapshotManifest, StagingTable]]:
    """Yield a table with the answer to a query of this module, and its manifest; see `warehouse_snapshot`.

    Args:
        warehouse: entered.
        question: asks the model's source.
        sql: the query.
        model: the model's name in the manifest, which is not kept.
        at: the time of the question.
    """
    with warehouse_snapshot(
        warehouse,
        model=model,
        source=question.source.with_sql(sql),
        primary_key=question.primary_key,
        check_primary_key=False,
        read_at=at,
        hook_of=question.hook_of,
    ) as found:
        yield found
