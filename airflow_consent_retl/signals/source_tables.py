"""The tables that a model's SQL reads, as far as OpenLineage's parser finds them. It contacts no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.databases.registry import database_of
from airflow_consent_retl.databases.table_names import table_names

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.extraction.reading import HookOf
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
    query = _read(sql, database_of(connection.conn_type).sql)
    found = {
        table.qualified_name: names.of(table.name, schema=table.schema, database=table.database)
        for table in ([] if parsed is None else parsed.in_tables)
        if table.name.lower() not in query.functions
    }
    if parsed is None or not found:
        return SourceTables([DatasetName(names.namespace, f"query {name}")], sql=query.shown)
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
    return SourceTables(tables, known, tables[0] if query.is_whole and len(tables) == 1 else None, query.shown)


class _Query(NamedTuple):
    """A query without its literals, empty if it cannot be read; whether it is `SELECT *` of one table; functions in the
    place of tables, in small letters.
    """

    shown: str = ""
    is_whole: bool = False
    functions: frozenset[str] = frozenset()


def _read(sql: str, dialect: str) -> _Query:
    import sqlglot
    from sqlglot import exp

    try:
        statements = [found for found in sqlglot.parse(sql, dialect=dialect or None) if found is not None]
    except sqlglot.errors.SqlglotError:
        return _Query()
    if not statements:
        return _Query()
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
    shown = query.sql(dialect=dialect or None, comments=False, pretty=True)
    called = [table.this for table in last.find_all(exp.Table) if isinstance(table.this, exp.Func)]
    functions = {one.name if isinstance(one, exp.Anonymous) else one.sql_name() for one in called}
    return _Query("" if _has_text(shown, dialect) else shown, is_whole, frozenset(map(str.lower, functions)))


def _has_text(sql: str, dialect: str) -> bool:
    """Return whether a query has text of any other notation, such as `$$…$$`, or a part that was not understood."""
    from sqlglot import TokenType, errors, tokenize

    texts = {kind for kind in TokenType if kind.name == "STRING" or kind.name.endswith("_STRING")}
    try:
        return any(token.token_type in texts for token in tokenize(sql, read=dialect or None))
    except errors.SqlglotError:
        return True
