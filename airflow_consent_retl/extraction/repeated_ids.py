"""Missing and repeated ids of a model: the errors about them, and expressions that count them in any warehouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ModelError

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from airflow_consent_retl.databases.dialect import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedIds:
    """The check of a model's ids.

    Args:
        dialect: the warehouse's dialect.
        primary_key: the column with the ids.
        id_type: Arrow's name of the ids' type.
    """

    dialect: Dialect
    primary_key: str
    id_type: str

    def counts(self, rows: ir.Table) -> ir.Table:
        """Return the number of rows without an id (`missing`) and of ids that occur more than once (`repeated`)."""
        found = self.repeated(rows)
        missing = rows.aggregate(missing=rows[self.primary_key].isnull().sum())
        return missing.cross_join(found.aggregate(repeated=found.count()))

    def repeated(self, rows: ir.Table) -> ir.Table:
        """Return the ids that occur more than once, in column `id`."""
        present = rows.filter(rows[self.primary_key].notnull())
        keyed = present.select(id=self.exact(present[self.primary_key]))
        counted = keyed.group_by("id").aggregate(rows=keyed.count())
        return counted.filter(counted["rows"] > 1)

    def exact(self, subject: ir.Value) -> ir.Value:
        """Return an id in the form in which it is compared: text by its bytes."""
        return self.dialect.exact(subject) if self.id_type in ("string", "large_string") else subject


def check_present(missing: int, *, primary_key: str, rows: int) -> None:
    """Raise `ModelError` if rows have no id."""
    if missing:
        raise ModelError(
            f"primary key `{primary_key}` is NULL in {missing:,} of {rows:,} rows: exclude them in the SQL, or set "
            "check_primary_key=False and let the filter deny them"
        )


def check_unique(repeated: int, *, primary_key: str, rows: int) -> None:
    """Raise `ModelError` if ids occur more than once."""
    if repeated:
        occurring = "1 id occurs" if repeated == 1 else f"{repeated:,} ids occur"
        raise ModelError(
            f"primary key `{primary_key}` is not unique: in {rows:,} rows, {occurring} more than once. Make them "
            'unique in the SQL, or withhold their rows: set on_duplicate_id="deny" at the filter and '
            "check_primary_key=False at the extraction (consent_sync needs the first only)"
        )
