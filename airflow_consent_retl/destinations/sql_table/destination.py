"""The SQL table destination: permitted rows upserted into a table of any database with an Airflow SQL connection.

`databases.tables` halves a batch until only the refused rows are left, and defines the table's requirements;
`databases.registry` names the writer of each database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load, WriteMode
from airflow_consent_retl.databases.registry import database_of
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.contract.dataset_name import DatasetName
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.databases.tables.table_batches import Batches
    from airflow_consent_retl.databases.tables.writer import TableWriter
    from airflow_consent_retl.destinations.sql_table.options import SqlTableOptions


_log = module_log(__name__)
# For rows that the database took without an error, and did not keep as they were sent.
# Made by this package of a number or state of the database; a class of a driver's error.
_DATABASE_CODE = re.compile(
    r"sqlstate_[0-9A-Z]{5}|error_[0-9]{1,6}|sqlite_[a-z]+(_[a-z]+)*|[A-Z][A-Za-z]*(Error|Exception)"
)
_TARGET = re.compile(r"table `(.+)` of (.+)", re.DOTALL)
_NO_COLUMN = "no_column"
_REMEDIES = {
    _NO_COLUMN: "the column of a withdrawn field is gone: empty it where it is now, and add it to the table again",
    "not_cleared": "a trigger, a rule or a policy kept values of withdrawn fields: let the load's role update them",
    "not_stored": "a trigger, a rule or a policy swallowed rows: exempt the load's role from it",
    "key_changed": "the key column stores keys in another form: cast the primary key in the model to that form",
    "not_removed": "a trigger, a rule or a missing policy kept people: let the load's role delete or update them",
    "not_visible": "the load's role does not see rows that it wrote: give it access to all rows",
}


class SqlTableDestination(Destination):
    """A table with one row per subject, upserted by the primary key.

    `open` makes the table or checks it: every mapped column must exist and store its field's values exactly, the
    key must be unique, and other columns must accept NULL or have a default. Each batch is one transaction. If the
    database refuses the batch because of a row, the batch is halved, each half a transaction of its own, until the
    refused rows are alone: those are `rejected`, with a code such as `not_null`, `check`, `too_long`,
    `value_out_of_range` or `sqlstate_22P02`; all others are applied. Deadlocks, locks and broken connections are
    retried, which an upsert allows; rows are `uncertain` when the last commit got no answer, or when the connection
    was lost with a part of the batch written.

    PostgreSQL, SQLite, MySQL and DuckDB upsert in one statement; others read the existing keys, update those rows
    and insert the rest, in one transaction. Timestamps with a zone are stored as such; SQLite has no such type and
    gets text in UTC, and text for decimals. Names of tables and columns are quoted and taken exactly as written.

    SQLite gets a first load of more than two batches in the order of the ids, if these are integers or text: so it
    writes most pages of the key's index once. The rows wait in the changes, as those of later loads do.

    Snowflake and BigQuery load a batch in bulk into a table of its own next to the target, and apply it with one
    MERGE. Neither enforces that a key is unique: any column may be the key, and if the table already has a key
    twice, all of its rows are updated, marked or deleted. On BigQuery the table is named `dataset.table`.

    People are removed by the primary key, a batch in one transaction, halved like the others: their rows are deleted,
    or marked in a column that records their removal or its time; sending a person again clears the mark. A mark
    deletes nothing: readers have to check it, and all personal columns stay, except the mapped ones with `mark_nulls`.
    A field that its person withdraws consent to is set to NULL by an UPDATE, between two loads.
    With `write="create_only"`, a row that is there stays as it is and counts as accepted: the table certainly has the
    person. With `"update_only"`, a row whose key is not there is `rejected` with `no_row`; each load tries it again.
    With `"fill_empty"`, a column that is not NULL keeps its value. A mark of a removal is cleared in every mode, and so
    is a field that consent withholds.
    A person without a row counts as removed; a row that must stay, for instance because another table refers to it, is
    `rejected`.

    What counts is what the table shows after a statement, before its commit. A row that a trigger, a rule or a policy
    swallowed is `rejected` with `not_stored`; a key that the column stores in another form (cut, padded, another
    spelling of a `uuid`) with `key_changed`; a person who is still there, or not marked, with `not_removed`. Other
    values that a trigger changes are not compared. On Snowflake and BigQuery each statement commits by itself; a row
    that the role does not see after its MERGE is `uncertain` with `not_visible`.

    `open` also refuses a key column that takes different texts for equal, a deferrable key, a key that the database
    generates, and a role that may not read what it writes or sees only some rows.

    Args:
        hook: of the Airflow connection.
        options: see `SqlTableOptions`.
    """

    can_remove: ClassVar[bool] = True
    can_clear: ClassVar[bool] = True
    write_modes: ClassVar[frozenset[WriteMode]] = frozenset({"upsert", "create_only", "update_only", "fill_empty"})
    nulls_by_field: ClassVar[frozenset[str]] = frozenset({"send", "omit", "clear"})

    def __init__(self, hook: DbApiHook, options: SqlTableOptions) -> None:
        from airflow_consent_retl.databases.place import place_of
        from airflow_consent_retl.databases.tables.removal_marks import removal_mark
        from airflow_consent_retl.databases.tables.table_name import TableName

        self._table = TableName.parse(options.table)
        database = database_of(hook.conn_type)
        self._limits = Limits(batch_rows=options.batch_rows or database.table_batch_rows)
        self._orders_rows = database.orders_rows
        self._hook = hook
        self._conn_id = hook.get_conn_id()
        self._place = place_of(hook)
        self._one_spelling: Callable[[str, str | None, str], tuple[str, ...]] = database.load(database.one_spelling)
        writer: Callable[..., TableWriter] = database.load(database.table)
        self._new_writer = partial(
            writer,
            hook,
            table=self._table,
            nulls=options.nulls,
            mark=removal_mark(options.on_remove, column=options.mark_column, nulls=options.mark_nulls),
        )
        self._creates = options.create_table
        self._writer = self._new_writer(create_table=self._creates)
        self._batches: Batches | None = None
        self._key = ""
        self._warned: set[str] = set()

    @property
    def limits(self) -> Limits:
        """One transaction at a time, so that a load never waits for itself."""
        return self._limits

    @property
    def orders_rows(self) -> bool:
        """As the database says."""
        return self._orders_rows

    @property
    def target(self) -> str:
        """The table and its database."""
        return f"table `{self._table}` of {self._place}"

    def is_same_target(self, recorded: str) -> bool:
        """Return whether a text names this table, with or without its schema, or through another path to its file."""
        from airflow_consent_retl.databases.tables.table_name import TableName

        found = _TARGET.fullmatch(recorded)
        # Names that contain a back quote or a dot are recorded as they are, and may have no other spelling.
        if found is None or recorded == self.target:
            return found is not None
        try:
            table = TableName.parse(found[1])
        except ConfigurationError:
            return False
        other = self._one_spelling(found[2], table.schema, table.name)
        return other == self._one_spelling(self._place, self._table.schema, self._table.name)

    @property
    def dataset_name(self) -> DatasetName:
        """The table."""
        from airflow_consent_retl.databases.table_names import table_names

        return table_names(self._hook).of(self._table.name, schema=self._table.schema)

    @property
    def former_targets(self) -> Sequence[str]:
        """The table and the connection."""
        return [f"table `{self._table}` of connection `{self._conn_id}`"]

    def is_own_code(self, code: str) -> bool:
        """Return whether a code names a state or an error number of the database; all other codes are words."""
        return _DATABASE_CODE.fullmatch(code) is not None

    def open(self, load: Load) -> None:
        """Connect, and make or check the table; for a load without rows, check only the needs of removals."""
        from airflow_consent_retl.databases.tables.table_batches import Batches

        self._key = self._key_of(load)
        self._writer.open(load, key=self._key)
        self._batches = Batches(self._table, before_transaction=load.before_request)

    def check(self, load: Load) -> None:
        """Check the table; a missing one that the load would make is as it should be."""
        from airflow_consent_retl.databases.tables.writer import MissingTableError

        writer = self._new_writer(create_table=False)
        try:
            writer.open(load, key=self._key_of(load))
        except MissingTableError:
            if not self._creates:
                raise
        finally:
            writer.close()

    def look(self, load: Load) -> None:
        """Check that the table exists, has a row, and suits the fields."""
        try:
            self.open(load)
        finally:
            self.abort()

    def send(self, batch: Batch) -> Outcomes:
        """Upsert a batch."""
        from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus

        columns = self._nulls(batch.rows)
        refused = dict.fromkeys(columns, "not_null")
        for column, unfit in self._writer.stage(batch.rows).items():
            for row in unfit.keys() - refused.keys():
                refused[row], columns[row] = unfit[row], column
        positions = [row for row in range(batch.rows.num_rows) if row not in refused]
        uncertain = self._opened.apply(self._writer.write, positions, refused, columns)
        self._warn([*refused.values(), *uncertain.values()])
        return Outcomes(
            batch.rows.num_rows,
            exceptions={row: Outcome(RowStatus.REJECTED, code, columns.get(row, "")) for row, code in refused.items()}
            | {row: Outcome(RowStatus.UNCERTAIN, code) for row, code in uncertain.items()},
        )

    def remove(self, batch: Batch) -> Outcomes:
        """Delete or mark a batch of people."""
        from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
        from airflow_consent_retl.databases.tables.writer import NOT_REMOVED

        keys = batch.rows.column(self._key)
        # No row has a key that `send` refuses by the same rules, or a key that is NULL.
        absent = {*self._writer.stage_removal(keys), *self._nulls(batch.rows)}
        refused: dict[int, str] = {}
        positions = [row for row in range(batch.rows.num_rows) if row not in absent]
        uncertain = self._opened.apply(self._writer.remove, positions, refused)
        kept = {
            row: code for row, code in refused.items() if code == NOT_REMOVED or self._opened.holds(self._writer, row)
        }
        self._warn(kept.values())
        return Outcomes(
            batch.rows.num_rows,
            exceptions={row: Outcome(RowStatus.REJECTED, code) for row, code in kept.items()}
            | {row: Outcome(RowStatus.UNCERTAIN, code) for row, code in uncertain.items()},
        )

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Set columns of a batch of people to NULL."""
        from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus

        # No row has a key that `send` refuses by the same rules, or a key that is NULL.
        absent = {*self._writer.stage_removal(batch.rows.column(self._key)), *self._nulls(batch.rows)}
        positions = [row for row in range(batch.rows.num_rows) if row not in absent]
        refused: dict[int, str] = {}
        uncertain: dict[int, str] = {}
        fixed = {*fields} - self._writer.columns, {*fields} & self._writer.not_null
        if code := next((code for code, names in zip((_NO_COLUMN, "not_null"), fixed, strict=True) if names), ""):
            # The values may be in a column of another name, or stay in this one.
            refused = dict.fromkeys(positions, code)
        else:
            uncertain = self._opened.apply(partial(self._writer.empty, names=fields), positions, refused)
        self._warn([*refused.values(), *uncertain.values()])
        return Outcomes(
            batch.rows.num_rows,
            exceptions={row: Outcome(RowStatus.REJECTED, code) for row, code in refused.items()}
            | {row: Outcome(RowStatus.UNCERTAIN, code) for row, code in uncertain.items()},
        )

    @property
    def _opened(self) -> Batches:
        if self._batches is None:
            raise RuntimeError("open() comes first")
        return self._batches

    def commit(self) -> None:
        """Release the connection; every batch was committed by itself."""
        self._writer.close()

    def abort(self) -> None:
        """Release the connection; committed batches stay."""
        self._writer.close()

    def _key_of(self, load: Load) -> str:
        if load.key_field is None:
            raise ConfigurationError(
                f"the primary key of model `{load.model}` is not mapped: table `{self._table}` is upserted by it"
            )
        return load.key_field

    def _warn(self, codes: Iterable[str]) -> None:
        for code in sorted({*codes} & _REMEDIES.keys() - self._warned):
            self._warned.add(code)
            _log.warning("table `%s`, %s: %s", self._table, code, _REMEDIES[code])

    def _nulls(self, rows: pa.RecordBatch) -> dict[int, str]:
        """Return, by row, a column whose NULL the table does not take."""
        # SQLite accepts NULL for most primary keys; and a value that no database accepts needs no search by halves.
        columns: dict[int, str] = {}
        for name in sorted((self._writer.not_null | {self._key}) & set(rows.schema.names)):
            column = rows.column(name)
            if column.null_count:
                nulls = column.is_null().to_pylist()
                columns.update({row: name for row, null in enumerate(nulls) if null})
        return columns
