"""Permitted rows in a table of a warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.fields.field_values import value_of
from airflow_consent_retl.filtering.expressions import GROUP, group_counts, group_fingerprints
from airflow_consent_retl.filtering.field_mapping import MARK, FieldMapping
from airflow_consent_retl.filtering.guarded_fields import guarded_columns
from airflow_consent_retl.filtering.permitted import PermittedRows, check_sum
from airflow_consent_retl.storage.parts import full_batches

if TYPE_CHECKING:
    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.storage.manifest import WarehouseDecision
    from airflow_consent_retl.storage.opening import OpenedPermitted


@dataclass(frozen=True, slots=True)
class WarehousePermittedRows(PermittedRows):
    """The verified rows of one destination, in a table of a warehouse.

    Args:
        reach: returns the warehouse, not yet entered.
        staged: the tables of the filter run.
        groups: the numbers of the groups of these rows.
    """

    reach: Callable[[], Warehouse]
    staged: WarehouseDecision
    groups: tuple[int, ...]

    @property
    def place(self) -> str:
        """The warehouse."""
        return "the warehouse"

    def batches(self, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches that are full, except for the last one. Only mapped columns leave the warehouse."""
        with self.reach() as warehouse:
            mapping = self.mapping
            # Rows are counted by a column, also where all fields are constants.
            read = mapping.columns or [self.manifest.primary_key]
            columns = ", ".join(self._column(warehouse, name) for name in read)
            table = warehouse.name_of(self.staged.permitted.staging_table)
            # No group has the number -1, so without groups there are no rows.
            groups = ", ".join(map(str, self.groups or (-1,)))
            sql = f"SELECT {columns} FROM {table} WHERE {warehouse.quote(GROUP)} IN ({groups})"  # noqa: S608
            with warehouse.read(sql, batch_rows=batch_rows) as rows:
                for batch in full_batches(rows.batches, batch_rows):
                    yield mapping.of(batch)

    def _column(self, warehouse: Warehouse, column: str) -> str:
        """Return a column in SQL, with NULL in the groups from which it is withheld; or a mark of such groups."""
        name, group = warehouse.quote(column), warehouse.quote(GROUP)
        marked = {mark: value for value, mark in self.marks.items()}
        groups = ", ".join(map(str, self.groups_without.get(marked.get(column, column), ())))
        if column in marked:
            return f"CASE WHEN {group} IN ({groups}) THEN 1 ELSE 0 END AS {name}"
        return f"CASE WHEN {group} NOT IN ({groups}) THEN {name} END AS {name}" if groups else name

    @property
    def mapping(self) -> FieldMapping:
        """The mapping of the fields, to apply to the model's rows."""
        return FieldMapping(self.fields, self.marks)

    @property
    def marks(self) -> dict[str, str]:
        """By computed value, the column that marks the rows from which it is withheld."""
        withheld = self.groups_without
        return {
            source: f"{MARK}{place}"
            for place, source in enumerate(self.fields.values())
            if source in withheld and value_of(source) is not None
        }

    @property
    def groups_without(self) -> dict[str, list[int]]:
        """The groups from which a column, or another value, is withheld."""
        found: dict[str, list[int]] = {}
        for number in self.groups:
            names = self.manifest.groups[number].withheld.get(self.destination, ())
            for column in guarded_columns(names, self.fields):
                found.setdefault(column, []).append(number)
        return found


def verified_tables(
    opened: OpenedPermitted,
    staged: WarehouseDecision,
    *,
    destination: str,
    fields: Mapping[str, str],
    reach: Callable[[], Warehouse],
) -> WarehousePermittedRows:
    """Compare the table of permitted rows with its manifest: the number of rows of each group and their fingerprint.

    Args:
        opened: the permitted set, whose manifest was checked.
        staged: its tables.
        destination: the destination of the rows.
        fields: the result of `check_permitted`.
        reach: returns the warehouse, not yet entered.

    Raises:
        RefusedError: the table was changed, or numbers do not add up.
    """
    folder, manifest = opened.folder, opened.manifest
    numbers = tuple(number for number, group in enumerate(manifest.groups) if destination in group.recipients)
    check_sum(opened, destination, sum(manifest.groups[number].rows for number in numbers))
    with reach() as warehouse:
        id_type = next(column.type for column in manifest.columns if column.name == manifest.primary_key)
        dialect = dialect_of(warehouse.dialect, id_type)
        columns = {**dict.fromkeys((column.name for column in manifest.columns), "string"), GROUP: "int32"}
        asked = group_counts(dialect, placeholder("permitted", columns), primary_key=manifest.primary_key)
        sql = dialect.compile(asked, {"permitted": warehouse.name_of(staged.permitted.staging_table)})
        with warehouse.read(sql) as found:
            batches = list(found.batches)
        stored = group_fingerprints(pa.Table.from_batches(batches)) if batches else {}
    for number in numbers:
        group = manifest.groups[number]
        if stored.get(number, (0, 0)) != (group.rows, group.fingerprint):
            raise RefusedError(
                f"{folder.uri}: table {staged.permitted.namespace}.{staged.permitted.name} was changed after the filter"
            )
    return WarehousePermittedRows(
        folder, manifest, opened.sha256, destination, fields, reach=reach, staged=staged, groups=numbers
    )
