"""A model's SQL as one query without a semicolon, which other SQL can enclose. Changes nothing else in it."""

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
