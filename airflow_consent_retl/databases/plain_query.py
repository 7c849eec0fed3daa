"""A model's SQL as one query that other SQL can be written around. Changes nothing else of it."""

from __future__ import annotations


def plain_query(sql: str, *, dialect: str) -> str:
    """Return a query without the semicolon at its end, whatever comments follow it.

    Args:
        sql: one query.
        dialect: sqlglot's name of the SQL's dialect; empty for the standard's.
    """
    from sqlglot import TokenType, tokenize
    from sqlglot.errors import TokenError

    try:
        tokens = tokenize(sql, read=dialect)
    except TokenError:
        # The server says better what is wrong with it.
        return sql
    end = len(sql)
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        end = tokens.pop().start
    return sql[:end]
