"""A model's SQL as one query without a semicolon, which other SQL can enclose; and the same query without rows."""

from __future__ import annotations

# Editors write it in front of a file; no database takes it.
BYTE_ORDER_MARK = "\ufeff"


def plain_query(sql: str, *, dialect: str) -> str:
    """Return a query without the byte order mark before it, the semicolon at its end, and the comments behind that.

    Args:
        sql: one query.
        dialect: sqlglot's name of the SQL's dialect; empty for the standard.
    """
    from sqlglot import TokenType, tokenize
    from sqlglot.errors import TokenError

    sql = sql.removeprefix(BYTE_ORDER_MARK)
    try:
        tokens = tokenize(sql, read=dialect)
    except TokenError:
        # The server's error message is better.
        return sql
    end = len(sql)
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        end = tokens.pop().start
    return sql[:end]


def without_rows(sql: str, *, dialect: str) -> str:
    """Return a query that has the columns of another one, and no row. Settings before the query stay.

    Args:
        sql: one query, with or without settings before it.
        dialect: sqlglot's name of the SQL's dialect; empty for the standard.
    """
    from sqlglot import TokenType, tokenize
    from sqlglot.errors import TokenError

    sql = plain_query(sql, dialect=dialect)
    try:
        ends = [token.end + 1 for token in tokenize(sql, read=dialect) if token.token_type is TokenType.SEMICOLON]
    except TokenError:
        return sql
    start = ends[-1] if ends else 0
    # On separate lines, so that a comment at the end of the query comments out nothing else.
    return f"{sql[:start]}SELECT * FROM (\n{sql[start:]}\n) AS consent_model WHERE 1 = 0"  # noqa: S608 - the DAG's own SQL
