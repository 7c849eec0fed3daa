"""The check of an SQL expression over a row: only parts that are listed here, so nothing else than the row counts.

There is no list of what is forbidden: a subquery, an aggregate, a function that reads the clock, chance, a file or a
setting, and every function that a later release adds, are refused because they are not listed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlglot.expressions import Expression

# Names of sqlglot's classes: not each of its releases has all of them.
_OPERATORS = """
    Add And Between Boolean Case Cast Column DataType DataTypeParam Div DPipe EQ Extract GT GTE Identifier If ILike In
    IntDiv Is Like Literal LT LTE Mod Mul Neg NEQ Not Null NullSafeEQ NullSafeNEQ Or Paren Sub TryCast Var
"""
_FUNCTIONS = """
    Abs Ceil Coalesce Concat ConcatWs Contains Day DateTrunc Floor Greatest Least Left Length Lower MD5 Month Nullif Pad
    RegexpLike RegexpReplace Replace Reverse Right Round SHA2 SplitPart StartsWith StrPosition Substring TimestampTrunc
    TimeToStr Trim Upper Year
"""
_PARTS = frozenset((_OPERATORS + _FUNCTIONS).split())
# Functions that sqlglot does not know by a class.
_NAMED = frozenset({"strip_accents", "date_part"})
_TYPE_NAMES = """
    BIGINT BOOLEAN DATE DECIMAL DOUBLE FLOAT INT SMALLINT TEXT TIMESTAMP TIMESTAMPTZ TINYINT UBIGINT UINT USMALLINT
    UTINYINT VARCHAR
"""
_TYPES = frozenset(_TYPE_NAMES.split())


def check_expression(sql: str) -> tuple[str, ...]:
    """Return the columns of an expression, each once, in the order of their first use.

    Raises:
        ConfigurationError: it is no scalar expression over columns of a row, or uses something that is not listed.
    """
    return _checked(sql)[0]


@lru_cache(maxsize=1024)
def checked_sql(sql: str, name_of: Callable[[int], str]) -> str:
    """Return an expression as DuckDB runs it: written anew from its checked parts, without comments.

    Args:
        sql: the expression.
        name_of: returns the name of a column from its number among the columns of the expression.
    """
    from sqlglot import exp

    columns, found = _checked(sql)
    written = found.copy()
    for column in list(written.find_all(exp.Column)):
        column.set("this", exp.to_identifier(name_of(columns.index(column.name)), quoted=True))
    return str(written.sql(dialect="duckdb", comments=False))


@lru_cache(maxsize=1024)
def _checked(sql: str) -> tuple[tuple[str, ...], Expression]:
    from sqlglot import exp, parse
    from sqlglot.errors import SqlglotError

    try:
        # On lines of its own, so that a comment at its end does not comment out the rest.
        statements = parse(f"SELECT (\n{sql}\n)", read="duckdb")
    except (SqlglotError, RecursionError):
        raise ConfigurationError(f"expression {sql!r} is no SQL that can be read") from None
    query = statements[0] if len(statements) == 1 else None
    if (
        not isinstance(query, exp.Select)
        or len(query.expressions) != 1
        or not isinstance(query.expressions[0], exp.Paren)
    ):
        raise ConfigurationError(f"expression {sql!r}: expected one expression, such as upper(trim(city))")
    if any(value for name, value in query.args.items() if name != "expressions"):
        raise ConfigurationError(f"expression {sql!r}: expected an expression over columns of the row, not a query")
    (found,) = query.expressions
    for node in found.walk():
        _check_node(sql, node)
    columns = tuple(dict.fromkeys(column.name for column in found.find_all(exp.Column)))
    if not columns:
        raise ConfigurationError(f"expression {sql!r} has no column: use constant(…) of airflow_consent_retl.fields")
    return columns, found


def _check_node(sql: str, node: Expression) -> None:
    from sqlglot import exp

    kind = type(node).__name__
    if isinstance(node, exp.Anonymous) and node.name.lower() in _NAMED:
        return
    if kind not in _PARTS:
        shown = node.name.lower() if isinstance(node, exp.Anonymous) else kind.lower()
        raise ConfigurationError(
            f"expression {sql!r}: `{shown}` is not among the functions and operators that a field may use. Compute the "
            "value in the model's SQL, as a column"
        )
    if isinstance(node, exp.Column) and (len(node.parts) > 1 or not isinstance(node.this, exp.Identifier)):
        raise ConfigurationError(
            f"expression {sql!r}: expected a column's name without a table: quote a name with a dot"
        )
    if isinstance(node, exp.DataType) and (node.this.name not in _TYPES or node.args.get("nested")):
        raise ConfigurationError(f"expression {sql!r}: cast to {', '.join(sorted(_TYPES))} only")
