"""The column whose value is too large. PostgreSQL refuses such a value without the name of its column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.writer import TargetColumn

_TEXT = re.compile(r"(?:VARCHAR|CHAR|CHARACTER VARYING|CHARACTER)\((\d+)\)")
_NUMBER = re.compile(r"(?:NUMERIC|DECIMAL)\((\d+)(?:, ?(\d+))?\)")
_BITS = {"SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}


def oversized_column(row: Mapping[str, object], columns: Mapping[str, TargetColumn]) -> str:
    """Return the only column that cannot hold its value of a row because of the value's size; empty: none, or several.

    Args:
        row: the values by column.
        columns: of the table.
    """
    found = [name for name, value in row.items() if _is_oversized(value, columns[name].shown)]
    return found[0] if len(found) == 1 else ""


def _is_oversized(value: object, shown: str) -> bool:
    if isinstance(value, str):
        text = _TEXT.match(shown)
        # Spaces at the end are cut without an error.
        return text is not None and len(value.rstrip(" ")) > int(text[1])
    if not isinstance(value, int | Decimal):
        return False
    if shown in _BITS:
        return not -(2 ** _BITS[shown]) <= value < 2 ** _BITS[shown]
    number = _NUMBER.match(shown)
    return number is not None and abs(value) >= 10 ** (int(number[1]) - int(number[2] or 0))
