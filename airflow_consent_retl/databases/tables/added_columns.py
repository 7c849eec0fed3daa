"""The columns that a table lacks for a load's fields, where the table is this package's own and may get them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Load


def missing_fields(load: Load, columns: Collection[str], *, case_sensitive: bool) -> list[pa.Field]:
    """Return the fields that have no column yet, in their order.

    Args:
        load: with the fields.
        columns: the names of the table's columns.
        case_sensitive: whether two columns of a table may differ in case only.
    """
    present = set(columns) if case_sensitive else {name.casefold() for name in columns}
    return [field for field in load.schema if (field.name if case_sensitive else field.name.casefold()) not in present]
