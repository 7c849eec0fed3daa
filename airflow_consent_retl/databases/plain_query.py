"""A model's SQL as one query without a semicolon, which other SQL can enclose; and queries that enclose it."""

from __future__ import annotations

import re

# Editors write it in front of a file; no database takes it.
BYTE_ORDER_MARK = "\ufeff"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The mark around a name, by dialect.
_MARKS = {
    **dict.fromkeys(("", "duckdb", "oracle", "postgres", "snowflake"), '"'),
    **dict.fromkeys(("bigquery", "databricks", "mysql", "spark"), "`"),
}


def plain_query(sql: str, *, dialect: str) -> str:
    """Return a query without the byte order mark before it, the semicolon at its end, and the comments behind that.

    Args:
        sql: one query.
        dialect: sqlglot's name of the SQL's dialect; empty for the standard.
    """
    sql = sql.removeprefix(BYTE_ORDER_MARK)
    if ";" not in sql:
        return sql

    from sqlglot import TokenType, tokenize
    from sqlglot.errors import TokenError

    try:
        tokens = tokenize(sql, read=dialect)
    except TokenError:
        # The server's error message is better.
        return sql
    end = len(sql)
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        end = tokens.pop().start
    return sql[:end]


def quoted(name: str, *, dialect: str) -> str:
    """Return a column's name in quotes, as a dialect of sqlglot writes it."""
    # sqlglot takes 0.2 s to load: only for names and dialects that need it.
    mark = _MARKS.get(dialect)
    if mark is not None and _PLAIN_NAME.fullmatch(name):
        return f"{mark}{name}{mark}"
    from sqlglot import exp

    return str(exp.to_identifier(name, quoted=True).sql(dialect=dialect))


def without_rows(sql: str, *, dialect: str) -> str:
    """Return a query that has the columns of another one, and no row. Settings before the query stay.

    Args:
        sql: one query, with or without settings before it.
        dialect: sqlglot's name of the SQL's dialect; empty for the standard.
    """
    return enclosing(sql, dialect=dialect, select="*", clause="WHERE 1 = 0")


def enclosing(sql: str, *, dialect: str, select: str, clause: str) -> str:
    """Return a query over the rows of another one. Settings before the query stay.

    Args:
        sql: one query, with or without settings before it.
        dialect: sqlglot's name of the SQL's dialect; empty for the standard.
        select: what the outer query selects, in the dialect.
        clause: what follows the inner query, in the dialect.
    """
    from sqlglot import TokenType, tokenize
    from sqlglot.errors import TokenError

    sql = plain_query(sql, dialect=dialect)
    try:
        ends = [token.end + 1 for token in tokenize(sql, read=dialect) if token.token_type is TokenType.SEMICOLON]
    except TokenError:
        # The server's error message is better.
        return sql
    start = ends[-1] if ends else 0
    # On separate lines, so that a comment at the end of the query comments out nothing else.
    enclosed = f"SELECT {select} FROM (\n{sql[start:]}\n) AS consent_model {clause}"  # noqa: S608 - the DAG's own SQL
    return f"{sql[:start]}{enclosed}"
