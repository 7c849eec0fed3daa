"""What a load is handed, verified: the rows of one destination, and the proof that a filter permitted them.

Holding a `PermittedRows` is that proof; `verify` is its only maker. Nothing else in the package opens the files of a
permitted set.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.consent import nearest
from airflow_consent_retl.contract.destination import Load
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.filtering.expressions import GROUP, group_counts, group_fingerprints
from airflow_consent_retl.filtering.guarded_fields import check_guarded, guarded_columns, without
from airflow_consent_retl.storage.parts import full_batches, read_from
from airflow_consent_retl.values.columns import declared_types

if TYPE_CHECKING:
    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import DestinationCounts, Part, PermittedManifest, WarehouseDecision

# How far the clocks of two workers may be apart.
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class PermittedRows:
    """The verified rows of one destination.

    Args:
        folder: where the files are.
        manifest: of the filter run.
        manifest_sha256: its digest.
        destination: the policy's name for it.
        fields: the destination's field names, each with the model's column.
        parts: the files, in the order in which they are read.
        withheld: of each file, by its name, the columns that do not go with its rows.
    """

    folder: Folder
    manifest: PermittedManifest
    manifest_sha256: str
    destination: str
    fields: Mapping[str, str]
    parts: tuple[Part, ...]
    withheld: Mapping[str, frozenset[str]]

    @property
    def counts(self) -> DestinationCounts:
        """What was decided for this destination."""
        return self.manifest.destinations[self.destination]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.counts.permitted

    @property
    def key(self) -> str:
        """A hex digest: the same for the same rows with the same fields at the same destination."""
        identity = [self.manifest_sha256, self.destination, list(self.fields.items())]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    @property
    def key_field(self) -> str | None:
        """The destination's name for the primary key, or None where it is not mapped."""
        return next((name for name, column in self.fields.items() if column == self.manifest.primary_key), None)

    def load(self) -> Load:
        """Return what a destination is told of a load of these rows."""
        return Load(
            key=self.key,
            destination=self.destination,
            model=self.manifest.model,
            schema=self.schema(),
            key_field=self.key_field,
            rows=self.rows,
            decided_at=self.manifest.decided_at,
        )

    def schema(self) -> pa.Schema:
        """Return the rows' schema, with the destination's field names."""
        if not self.parts:
            types = {column.name: column.type for column in self.manifest.columns}
            return pa.schema([(name, _type_named(types[column])) for name, column in self.fields.items()])
        schema = self.folder.schema(self.parts)
        return pa.schema([schema.field(column).with_name(name) for name, column in self.fields.items()])

    @property
    def id_type(self) -> pa.DataType | None:
        """The type of the primary key; None where nobody was permitted anywhere and its name alone does not tell."""
        name = self.manifest.primary_key
        for group in self.manifest.groups:
            if group.parts:
                return self.folder.schema(group.parts).field(name).type
        declared = {column.name: column.type for column in self.manifest.columns}[name]
        try:
            return declared_types({name: declared})[name]
        except ConfigurationError:
            return None

    def with_ids(
        self,
        batch_rows: int,
        *,
        skip: Callable[[int, int], bool] = lambda start, end: False,
        use_threads: bool = False,
    ) -> Iterator[tuple[int, pa.Array, pa.RecordBatch]]:
        """Yield the rows, at most `batch_rows` at a time, with the position of the first and with all their ids.

        Only mapped columns and the primary key are read. The order never changes.

        Args:
            skip: asked with the positions at which a stretch of rows begins and ends; True leaves it out, unread.
            use_threads: decode columns side by side.
        """
        primary_key = self.manifest.primary_key
        columns = list(dict.fromkeys([*self.fields.values(), primary_key]))
        read = read_from(
            self.folder, self.parts, 0, columns=columns, batch_rows=batch_rows, skip=skip, use_threads=use_threads
        )
        for start, rows, mapped in self._mapped(read):
            yield start, rows.column(primary_key), mapped

    def batches(self, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in an order that never changes, in batches that are full but for the last one.

        Only mapped columns are read.
        """
        columns = list(dict.fromkeys(self.fields.values()))
        read = read_from(self.folder, self.parts, 0, columns=columns, batch_rows=batch_rows)
        return full_batches((mapped for _, _, mapped in self._mapped(read)), batch_rows)

    def _mapped(
        self, read: Iterator[tuple[int, pa.RecordBatch]]
    ) -> Iterator[tuple[int, pa.RecordBatch, pa.RecordBatch]]:
        """Yield the rows as they were read, and with the destination's fields, without those that are withheld."""
        schema = self.schema()
        ends = list(accumulate(part.rows for part in self.parts))
        for start, rows in read:
            mapped = pa.RecordBatch.from_arrays([rows.column(c) for c in self.fields.values()], schema=schema)
            # INVARIANT: rows that are read together are of one file.
            part = self.parts[bisect_right(ends, start)]
            yield start, rows, without(mapped, self.fields, self.withheld.get(part.name, frozenset()))


@dataclass(frozen=True, slots=True)
class WarehousePermittedRows(PermittedRows):
    """The verified rows of one destination, in a table of a warehouse.

    Args:
        reach: returns the warehouse, not yet entered.
        staged: the tables of the filter run.
        groups: the numbers of the groups whose rows these are.
    """

    reach: Callable[[], Warehouse]
    staged: WarehouseDecision
    groups: tuple[int, ...]

    def batches(self, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows, in batches that are full but for the last one. Only mapped columns leave the warehouse."""
        with self.reach() as warehouse:
            columns = ", ".join(self._column(warehouse, name) for name in dict.fromkeys(self.fields.values()))
            table = warehouse.name_of(self.staged.permitted.staging_table)
            # Without a group there is none whose number is -1.
            groups = ", ".join(map(str, self.groups or (-1,)))
            sql = f"SELECT {columns} FROM {table} WHERE {warehouse.quote(GROUP)} IN ({groups})"  # noqa: S608
            with warehouse.read(sql, batch_rows=batch_rows) as rows:
                for batch in full_batches(rows.batches, batch_rows):
                    yield pa.RecordBatch.from_arrays(
                        [batch.column(column) for column in self.fields.values()], names=list(self.fields)
                    )

    def _column(self, warehouse: Warehouse, column: str) -> str:
        """Return a column in SQL, NULL in the groups that go without it."""
        name = warehouse.quote(column)
        groups = ", ".join(map(str, self.groups_without.get(column, ())))
        group = warehouse.quote(GROUP)
        return f"CASE WHEN {group} NOT IN ({groups}) THEN {name} END AS {name}" if groups else name

    @property
    def groups_without(self) -> dict[str, list[int]]:
        """By column of the model, the groups whose rows go without it."""
        found: dict[str, list[int]] = {}
        for number in self.groups:
            names = self.manifest.groups[number].withheld.get(self.destination, ())
            for column in guarded_columns(names, self.fields):
                found.setdefault(column, []).append(number)
        return found


def verify(
    folder: Folder,
    manifest: PermittedManifest,
    *,
    manifest_sha256: str,
    destination: str,
    fields: Mapping[str, str] | None,
    policy_digest: str | None,
    max_age_s: float | None,
    now: datetime,
    reach: Callable[[], Warehouse] | None = None,
) -> PermittedRows:
    """Check everything that makes a permitted set permitted, before anything is sent.

    Args:
        fields: the destination's field names, each with the model's column; None for all columns as they are.
        policy_digest: of the policy as it is now; None: whoever sends asks the source again, under that policy.
        max_age_s: seconds since the decision; None: likewise.
        now: the present time, with a zone.
        reach: returns the warehouse that the rows may be in, not yet entered.

    Raises:
        RefusedError: another destination, a changed policy, an old decision, a changed or missing file, numbers that
            do not add up.
        ConfigurationError: a field is mapped to a column that the model does not have.
    """
    if destination not in manifest.destinations:
        near = nearest(destination, manifest.destinations)
        hint = f", did you mean `{near}`?" if near else f": it was made for {_names(manifest.destinations)}"
        raise RefusedError(f"this permitted set was not made for destination `{destination}`{hint}")
    if policy_digest is not None and manifest.policy_digest != policy_digest:
        raise RefusedError(
            f"the policy changed since consent was decided for `{destination}`: run the filter again "
            f"(decided under {manifest.policy_digest}, now {policy_digest})"
        )
    check_age(manifest, destination=destination, max_age_s=max_age_s, now=now)
    mapped = _checked_fields(fields, [column.name for column in manifest.columns])
    guarded = [name for group in manifest.groups for name in group.withheld.get(destination, ())]
    check_guarded(guarded, mapped, destination=destination, primary_key=manifest.primary_key)
    if manifest.staged is not None:
        return _verify_staged(folder, manifest, manifest.staged, manifest_sha256, destination, mapped, reach)
    parts: list[Part] = []
    withheld: dict[str, frozenset[str]] = {}
    for group in manifest.groups:
        if sum(part.rows for part in group.parts) != group.rows:
            raise RefusedError(f"{folder.uri}: the parts of a group do not add up to its {group.rows:,} rows")
        if destination in group.recipients:
            parts.extend(group.parts)
            columns = guarded_columns(group.withheld.get(destination, ()), mapped)
            withheld |= {part.name: columns for part in group.parts}
    counts = manifest.destinations[destination]
    if sum(part.rows for part in parts) != counts.permitted or counts.read != counts.permitted + counts.denied:
        raise RefusedError(f"{folder.uri}: the rows for `{destination}` do not add up to {counts.permitted:,}")
    for part in parts:
        folder.verify(part)
        # The digest proves the bytes, not what the manifest says of their rows.
        folder.open_parquet(part).close()
    return PermittedRows(folder, manifest, manifest_sha256, destination, mapped, tuple(parts), withheld)


def _verify_staged(
    folder: Folder,
    manifest: PermittedManifest,
    staged: WarehouseDecision,
    manifest_sha256: str,
    destination: str,
    fields: Mapping[str, str],
    reach: Callable[[], Warehouse] | None,
) -> WarehousePermittedRows:
    """Hold what the table holds against the manifest: the rows of each group, and a fingerprint of who they are."""
    if reach is None:
        raise RefusedError(f"{folder.uri}: the permitted rows are in a warehouse, which cannot be reached from here")
    numbers = tuple(number for number, group in enumerate(manifest.groups) if destination in group.recipients)
    counts = manifest.destinations[destination]
    rows = sum(manifest.groups[number].rows for number in numbers)
    if rows != counts.permitted or counts.read != counts.permitted + counts.denied:
        raise RefusedError(f"{folder.uri}: the rows for `{destination}` do not add up to {counts.permitted:,}")
    with reach() as warehouse:
        id_type = next(column.type for column in manifest.columns if column.name == manifest.primary_key)
        dialect = dialect_of(warehouse.dialect, id_type)
        columns = {**dict.fromkeys((column.name for column in manifest.columns), "string"), GROUP: "int32"}
        asked = group_counts(dialect, placeholder("permitted", columns), primary_key=manifest.primary_key)
        sql = dialect.compile(asked, {"permitted": warehouse.name_of(staged.permitted.staging_table)})
        with warehouse.read(sql) as found:
            batches = list(found.batches)
        held = group_fingerprints(pa.Table.from_batches(batches)) if batches else {}
    for number in numbers:
        group = manifest.groups[number]
        if held.get(number, (0, 0)) != (group.rows, group.fingerprint):
            raise RefusedError(
                f"{folder.uri}: table {staged.permitted.namespace}.{staged.permitted.name} was changed after the filter"
            )
    return WarehousePermittedRows(
        folder, manifest, manifest_sha256, destination, fields, (), {}, reach=reach, staged=staged, groups=numbers
    )


def check_age(manifest: PermittedManifest, *, destination: str, max_age_s: float | None, now: datetime) -> None:
    """Refuse a decision that is too old, or of the future; None: no age is too old.

    Raises:
        RefusedError: the filter has to run again.
    """
    age = now - manifest.decided_at
    if age < -_CLOCK_SKEW or (max_age_s is not None and age > timedelta(seconds=max_age_s)):
        limit = "" if max_age_s is None else f", max_age_s is {max_age_s:,.0f}"
        raise RefusedError(
            f"consent for `{destination}` was decided {age.total_seconds():,.0f} s ago{limit}: run the filter again"
        )


def _checked_fields(fields: Mapping[str, str] | None, columns: list[str]) -> dict[str, str]:
    if fields is None:
        return {column: column for column in columns}
    if not fields:
        raise ConfigurationError("fields: at least one field has to be mapped")
    problems = []
    for name, column in fields.items():
        if column not in columns:
            near = nearest(column, columns)
            problems.append(
                f"fields[{name!r}]: column `{column}` is not in the model"
                + (f", did you mean `{near}`?" if near else "")
            )
    if problems:
        raise ConfigurationError("; ".join(problems))
    return dict(fields)


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _type_named(name: str) -> pa.DataType:
    try:
        return declared_types({name: name})[name]
    except ConfigurationError:
        # Only reached for an empty set, where a type without an alias has no value to hold.
        return pa.string()
