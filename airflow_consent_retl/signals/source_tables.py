"""The tables that a model's SQL reads, as far as OpenLineage's parser finds them. It contacts no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.databases.registry import database_of
from airflow_consent_retl.databases.table_names import table_names

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.extraction.consent_files import HookOf
    from airflow_consent_retl.storage.manifest import ModelSource

Columns = Mapping[str, Sequence[tuple[DatasetName, str]]]


@dataclass(frozen=True, slots=True)
class SourceTables:
    """The tables of a query.

    Args:
        tables: in the order of the query; the query itself, where its tables are not known.
        columns: the columns that each column of the result is made of, as far as they are known.
        whole: the one table whose columns are the result, for `SELECT *`; None: it is another query.
        sql: the query without its literals; empty if it cannot be read.
    """

    tables: Sequence[DatasetName]
    columns: Columns = field(default_factory=dict)
    whole: DatasetName | None = None
    sql: str = ""


def tables_of(model: str, source: ModelSource, hook_of: HookOf) -> SourceTables:
    """Return the tables that a model is read from, with those of its consent sources.

    Args:
        model: the model's name.
        source: where its rows are read.
        hook_of: finds the hooks of its connections.

    Raises:
        ConfigurationError: there is no such connection.
    """
    own = query_tables(hook_of(None), source.sql, name=model)
    more: list[DatasetName] = []
    for document in source.consent_sources:
        hook, sql = hook_of(document.get("conn_id")), document.get("sql")
        if isinstance(sql, str):
            more += query_tables(hook, sql, name=f"consent of {model}").tables
    return SourceTables(list(dict.fromkeys([*own.tables, *more])), own.columns, own.whole, own.sql)


def query_tables(hook: DbApiHook, sql: str, *, name: str) -> SourceTables:
    """Return the tables of one query.

    Args:
        hook: of its connection.
        sql: rendered.
        name: of the query as a dataset, if its tables are not known.
    """
    from airflow.providers.openlineage.sqlparser import SQLParser

    names = table_names(hook)
    connection = hook.get_connection(hook.get_conn_id())
    dialect = hook.get_openlineage_database_dialect(connection)
    parsed = SQLParser(dialect, default_schema=names.schema).parse(SQLParser.split_sql_string(sql))
    shown, is_whole = _read(sql, database_of(connection.conn_type).sql)
    if parsed is None or not parsed.in_tables:
        return SourceTables([DatasetName(names.namespace, f"query {name}")], sql=shown)
    found = {
        table.qualified_name: names.of(table.name, schema=table.schema, database=table.database)
        for table in parsed.in_tables
    }
    tables = list(dict.fromkeys(found.values()))
    columns = {
        made.descendant.name: [
            (found[column.origin.qualified_name], column.name)
            for column in made.lineage
            if column.origin is not None and column.origin.qualified_name in found
        ]
        for made in parsed.column_lineage
    }
    known = {column: made_of for column, made_of in columns.items() if made_of}
    return SourceTables(tables, known, tables[0] if is_whole and len(tables) == 1 else None, shown)


def _read(sql: str, dialect: str) -> tuple[str, bool]:
    """Return a query without its literals, empty if it cannot be read; and whether it is `SELECT *` of one table."""
    import sqlglot
    from sqlglot import exp

    try:
        statements = [found for found in sqlglot.parse(sql, dialect=dialect or None) if found is not None]
    except sqlglot.errors.SqlglotError:
        return "", False
    if not statements:
        return "", False
    last = statements[-1]
    is_whole = (
        isinstance(last, exp.Select)
        and len(last.expressions) == 1
        and type(last.expressions[0]) is exp.Star
        and not last.args.get("joins")
        and len(list(last.find_all(exp.Table))) == 1
    )
    # INVARIANT: a literal may be a value of a row, and lineage leaves Airflow. Comments may quote one.
    query = last.transform(lambda node: exp.Placeholder() if isinstance(node, exp.Literal) else node)
    return query.sql(dialect=dialect or None, comments=False, pretty=True), is_whole
