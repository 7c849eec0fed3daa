"""A bounded sample of a model, taken by the warehouse. Columns that identify people are counted there, never read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.checking.discovery.consent_words import is_personal
from airflow_consent_retl.databases.registry import database_of

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.consent import ColumnKind
    from airflow_consent_retl.databases.source import ModelRows

# The largest sample, which keeps the memory of this process small: Snowflake samples at most a million rows.
MOST_ROWS = 100_000
# Names of columns that these queries add.
_ROW, _ALL = "one_row", "all_rows"
_MOST_KEYS = 50


@dataclass(frozen=True, slots=True)
class SampledColumn:
    """One column of a sample.

    Args:
        name: of the column.
        type: Arrow's name of its type.
        kind: as which a filter reads it.
        is_typed: whether the database itself knows the type.
        values: one for each sampled row, as a filter reads them; None: they were not read, because the name or the type
            says that they identify people or contain no consent.
    """

    name: str
    type: str
    kind: ColumnKind
    is_typed: bool
    values: Sequence[object] | None


@dataclass(frozen=True, slots=True)
class UniqueCount:
    """The values of a column that may be a key, in a sample: their number, and the number of different ones."""

    rows: int
    values: int
    different: int

    @property
    def is_unique(self) -> bool:
        """True if every row has a value of its own."""
        return 0 < self.rows == self.values == self.different


@dataclass(frozen=True, slots=True)
class SampledModel:
    """The sample: its columns, and counts of those that may be the primary key."""

    rows: int
    columns: tuple[SampledColumn, ...]
    keys: Mapping[str, UniqueCount]


def sampled_model(
    hook: DbApiHook, *, conn_id: str, sql: str, rows: int, column_types: Mapping[str, pa.DataType], time_zone: str
) -> SampledModel:
    """Take a sample of a model's rows, at random where the database can.

    Args:
        hook: of the connection.
        conn_id: its name, for messages.
        sql: the model's query.
        rows: the most rows.
        column_types: declared types, by column.
        time_zone: the session's.

    Raises:
        ConfigurationError, ModelError: the connection, the query or a column cannot make a model.
        SourceUnavailableError: the database does not answer.
    """
    return _Sampling(hook, conn_id, sql, rows, column_types, time_zone).sample()


@dataclass(frozen=True, slots=True)
class _Sampling:
    """The queries of one sample."""

    hook: DbApiHook
    conn_id: str
    sql: str
    rows: int
    column_types: Mapping[str, pa.DataType]
    time_zone: str

    def sample(self) -> SampledModel:
        """Read the columns, then the counts of keys, then the values of the other columns."""
        import pyarrow.types as pt

        schema = self._schema()
        plain = [field for field in schema if not pt.is_nested(field.type) and not pt.is_floating(field.type)]
        keys = self._counted([field.name for field in plain if is_personal(field.name)][:_MOST_KEYS])
        wanted = [name for name in schema.names if not is_personal(name)]
        table = self._values(wanted) if wanted else None
        rows = max([0 if table is None else table.num_rows, *(one.rows for one in keys.values())])
        columns = [self._column(schema, name, table) for name in schema.names]
        return SampledModel(rows, tuple(columns), keys)

    def _column(self, schema: pa.Schema, name: str, table: pa.Table | None) -> SampledColumn:
        import pyarrow.types as pt

        from airflow_consent_retl.consent import ColumnKind
        from airflow_consent_retl.filtering.files import column_kinds
        from airflow_consent_retl.storage.manifest import Column

        is_read = table is not None and name in table.column_names
        type_ = str(table.schema.field(name).type if table is not None and is_read else schema.field(name).type)
        kind = column_kinds([Column(name=name, type=type_)])[name]
        # A filter reads nothing of other types.
        is_read = is_read and kind is not ColumnKind.OTHER
        values = table.column(name).to_pylist() if table is not None and is_read else None
        if values is not None and kind is ColumnKind.JSON:
            values = [None if one is None else json.dumps(one) for one in values]
        return SampledColumn(name, type_, kind, not pt.is_null(schema.field(name).type), values)

    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        quoted = self._quoted(_ROW)
        with self._reading(f"1 AS {quoted}, consent_model.*", "WHERE 1 = 0", self.column_types) as model:
            return pa.schema([field for field in model.schema if field.name != _ROW])

    def _counted(self, names: Sequence[str]) -> dict[str, UniqueCount]:
        if not names:
            return {}
        counts = [f"COUNT(*) AS {self._quoted(_ALL)}"]
        for place, name in enumerate(names):
            quoted = self._quoted(name)
            counts += [f"COUNT({quoted}) AS {self._quoted(f'v{place}')}"]
            counts += [f"COUNT(DISTINCT {quoted}) AS {self._quoted(f'd{place}')}"]
        sampled = self._enclosed(self.sql, ", ".join(map(self._quoted, names)), self._sample)
        with self._reading(f"1 AS {self._quoted(_ROW)}, {', '.join(counts)}", "", {}, sql=sampled) as model:
            (found,) = [row for batch in model.batches for row in batch.to_pylist()]
        return {
            name: UniqueCount(int(found[_ALL]), int(found[f"v{place}"]), int(found[f"d{place}"]))
            for place, name in enumerate(names)
        }

    def _values(self, names: Sequence[str]) -> pa.Table:
        import pyarrow as pa

        from airflow_consent_retl.values.columns import cast_batch, common_schema

        declared = {name: type_ for name, type_ in self.column_types.items() if name in names}
        select = ", ".join([f"1 AS {self._quoted(_ROW)}", *map(self._quoted, names)])
        with self._reading(select, self._sample, declared) as model:
            schema, batches = model.schema, list(model.batches)
        for batch in batches:
            # A database without types shows them only in its values.
            schema = common_schema(schema, batch.schema, primary_key=_ROW)
        return pa.Table.from_batches([cast_batch(batch, schema) for batch in batches], schema)

    @contextmanager
    def _reading(
        self, select: str, clause: str, declared: Mapping[str, pa.DataType], *, sql: str | None = None
    ) -> Iterator[ModelRows]:
        from airflow_consent_retl.databases.source import ModelQuery, read_model

        query = ModelQuery(
            conn_id=self.conn_id,
            sql=self._enclosed(self.sql if sql is None else sql, select, clause),
            primary_key=_ROW,
            column_types=declared,
            time_zone=self.time_zone,
        )
        with read_model(self.hook, query) as model:
            yield model

    @property
    def _sample(self) -> str:
        return database_of(self.hook.conn_type).sample.format(rows=self.rows)

    def _enclosed(self, sql: str, select: str, clause: str) -> str:
        from airflow_consent_retl.databases.plain_query import enclosing

        return enclosing(sql, dialect=database_of(self.hook.conn_type).quotes_as, select=select, clause=clause)

    def _quoted(self, name: str) -> str:
        from airflow_consent_retl.databases.plain_query import quoted

        return quoted(name, dialect=database_of(self.hook.conn_type).quotes_as)
