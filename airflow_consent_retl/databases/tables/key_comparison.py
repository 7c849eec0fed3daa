"""The question whether a column tells all texts apart, as this package does. Runs no SQL.

A collation, a padded type or an own text type may take two ids for one key: one person's row would replace another's,
and the withdrawal of one would remove both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.table_name import TableName
    from airflow_consent_retl.databases.tables.writer import TargetColumn

# Texts that some databases take for equal, and what differs in them.
_PAIRS = (
    ("upper and lower case", "a", "A"),
    ("spaces at the end", "b", "b "),
    ("composed and decomposed letters", "\u00e9", "e\u0301"),
    ("accents", "o", "\u00f6"),
    ("letters that are written as two", "ss", "\u00df"),
    ("punctuation", "c-d", "cd"),
    ("zeros in front of numbers", "1", "01"),
    ("width of letters", "x", "\uff58"),
)
TEXTS = tuple(text for _, *pair in _PAIRS for text in pair)

# Returns how many of some texts the column tells apart; None if it cannot be asked, since it takes no such text.
Distinct = Callable[[Sequence[str]], int | None]


def check_comparison(table: TableName, key: str, column: TargetColumn, distinct: Distinct) -> None:
    """Ask the column, and raise a `ConfigurationError` if it takes different keys for equal.

    A column that takes no such text, such as a `uuid`, is not asked: each key is read back after it was written.
    """
    if distinct(TEXTS) == len(TEXTS):
        return
    equal = [what for what, *pair in _PAIRS if distinct(pair) == 1]
    if equal:
        raise ConfigurationError(
            f"key column `{key}` ({column.shown}) of table `{table}` takes keys for equal that differ in "
            f"{', '.join(equal)}: one person would replace another. Give it a type and a collation that compare bytes: "
            "BINARY in SQLite and DuckDB; text with a deterministic collation in PostgreSQL, not char(n) or citext; a "
            "`_bin` collation in MySQL; a BIN2 collation in SQL Server"
        )
