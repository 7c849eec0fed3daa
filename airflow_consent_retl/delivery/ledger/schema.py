"""The ledger's tables and their creation. They hold O(batches) rows, and never a subject or a value of a row."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from airflow_consent_retl.delivery.ledger.run_records import COUNTS
from airflow_consent_retl.errors import ConfigurationError

SCHEMA_VERSION = 6
_PREFIX = "consent_retl_"
# Any number works, as long as it never changes: the ASCII of `cretl`.
_CREATION_LOCK = 0x637265746C
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timestamp(sa.TypeDecorator[datetime]):
    """A timestamp as whole microseconds since 1970, UTC: exact, and the same in every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        """Return the microseconds of a timestamp, which must have a time zone."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        """Return the timestamp in UTC."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = sa.MetaData()

schema_versions = sa.Table(
    f"{_PREFIX}schema", metadata, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False)
)

syncs = sa.Table(
    f"{_PREFIX}syncs",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at", Timestamp, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("decided_at", Timestamp),
    # When withdrawals were last removed outside of a load: a decision from before may permit people who withdrew since.
    sa.Column("withdrawn_at", Timestamp),
    sa.Column("version", sa.BigInteger, nullable=False),
    # The open delivery, in the row that every write locks: a second one cannot begin while it is open.
    sa.Column("delivery", sa.BigInteger),
    # Since version 2. The workspace that has the sync's delivered state.
    sa.Column("workspace", sa.Text),
    # Since version 2. The DAG that serves the sync, JSON lists of DAGs and syncs that share it or its target, and the
    # time when a run last ended well.
    sa.Column("dag", sa.Text),
    sa.Column("dags", sa.Text),
    sa.Column("shares", sa.Text),
    sa.Column("served_at", Timestamp),
    # The ids of the categories that the destination required at the last load, as a JSON list.
    sa.Column("required", sa.Text),
    # Since version 2. The time for which the lease was taken: one that ends later than that was written by a clock
    # that was ahead.
    sa.Column("lease_s", sa.Float),
    # Since version 4. The delivered state that is exactly a permitted set, and the digest of that set's rows.
    sa.Column("exact_version", sa.BigInteger),
    sa.Column("exact_rows", sa.Text),
)

# Since version 2. What each sync read for the newest data that it delivered, and the time that these data stand for.
sources = sa.Table(
    f"{_PREFIX}sources",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("as_of", Timestamp, nullable=False),
    sa.Column("served_by", sa.Text, nullable=False),
    sa.Column("conn_id", sa.Text, nullable=False),
    sa.Column("hook_params", sa.Text, nullable=False),
    sa.Column("session_time_zone", sa.Text, nullable=False),
    sa.Column("sql_sha256", sa.Text, nullable=False),
    sa.Column("sources_sha256", sa.Text, nullable=False),
    # The digests of both without any digit.
    sa.Column("sql_outline", sa.Text, nullable=False),
    sa.Column("sources_outline", sa.Text, nullable=False),
    # The digest of the SQL without its dates, and the latest of these dates.
    sa.Column("sql_shape", sa.Text, nullable=False),
    sa.Column("sql_date", sa.Text, nullable=False),
    sa.Column("is_dated", sa.Boolean, nullable=False),
    # Since version 6. How many rows the consent sources with a limit had, as a JSON list.
    sa.Column("sizes", sa.Text),
)

# Since version 2. One row: the ledger's own id, which each of its workspaces carries.
identity = sa.Table(
    f"{_PREFIX}identity",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("made_at", Timestamp, nullable=False),
)

# Since version 2. The workspaces whose syncs this ledger records.
workspaces = sa.Table(
    f"{_PREFIX}workspaces",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # Where it was when it joined.
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("joined_at", Timestamp, nullable=False),
    # Since version 3. The most acts that its suppression list was seen with.
    sa.Column("acts", sa.BigInteger),
)

versions = sa.Table(
    f"{_PREFIX}versions",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("decided_at", Timestamp, nullable=False),
)

deliveries = sa.Table(
    f"{_PREFIX}deliveries",
    metadata,
    # SQLite increments a column automatically only if its type is INTEGER.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("sync", sa.Text, nullable=False, index=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("changes_uri", sa.Text),
    sa.Column("changes_sha256", sa.Text, nullable=False),
    sa.Column("decided_at", Timestamp, nullable=False),
    sa.Column("send_rows", sa.BigInteger, nullable=False),
    sa.Column("remove_rows", sa.BigInteger, nullable=False),
    sa.Column("base", sa.BigInteger, nullable=False),
    sa.Column("began_at", Timestamp, nullable=False),
    sa.Column("closed_at", Timestamp),
    sa.Column("version", sa.BigInteger),
    # An id is never used again: a paused worker may still refer to the old delivery.
    sqlite_autoincrement=True,
)

batches = sa.Table(
    f"{_PREFIX}batches",
    metadata,
    sa.Column("delivery", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("intended_at", Timestamp, nullable=False),
    sa.Column("lost_at", Timestamp),
    sa.Column("ended_at", Timestamp),
    sa.Column("outcomes", sa.Text),
)

# Since version 5. The leases of the slices of an open delivery: ranges of its batches to send, each for one task. A row
# stays until the next lease of the sync begins.
slices = sa.Table(
    f"{_PREFIX}slices",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires_at", Timestamp, nullable=False),
    sa.Column("lease_s", sa.Float, nullable=False),
)

# Since version 3. The requests that are reserved, by a keyed digest of the vendor's account: a JSON object by slot.
account_rates = sa.Table(
    f"{_PREFIX}account_rates",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("used", sa.Text, nullable=False),
)

# Since version 5. The periods, effects and approvals that each archive of policies was seen with: how many, and the
# name of the newest.
archives = sa.Table(
    f"{_PREFIX}archives",
    metadata,
    sa.Column("uri", sa.Text, primary_key=True),
    sa.Column("proofs", sa.BigInteger, nullable=False),
    sa.Column("newest", sa.Text, nullable=False),
)

# Since version 4. What each try of a task did at a sync, in counts.
runs = sa.Table(
    f"{_PREFIX}runs",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("sync", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("failure", sa.Text, nullable=False),
    sa.Column("dag", sa.Text, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("map_index", sa.BigInteger),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("began_at", Timestamp, nullable=False),
    sa.Column("ended_at", Timestamp, nullable=False),
    sa.Column("policy_digest", sa.Text, nullable=False),
    sa.Column("decided_at", Timestamp),
    sa.Column("data_time", Timestamp),
    sa.Column("people", sa.BigInteger, nullable=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTS),
    # JSON objects: counts by reason of a denial, by cause of a removal, by withheld field and by the destination's
    # code, and the limits by parameter.
    sa.Column("denied_by_reason", sa.Text, nullable=False),
    sa.Column("removals_by_cause", sa.Text, nullable=False),
    sa.Column("withheld_fields", sa.Text, nullable=False),
    sa.Column("limits", sa.Text, nullable=False),
    sa.Column("codes", sa.Text, nullable=False),
    sa.Column("lags", sa.Text),
    sa.Column("delivery", sa.BigInteger),
    sa.Column("is_resumed", sa.Boolean, nullable=False),
    sa.Index(f"{_PREFIX}runs_of_sync", "sync", "ended_at"),
    sa.Index(f"{_PREFIX}runs_by_time", "ended_at"),
    sa.Index(f"{_PREFIX}runs_of_task", "dag", "run", "task"),
)


def is_installed(connection: sa.Connection) -> bool:
    """Return whether the tables exist, in the version that this release writes.

    Raises:
        ConfigurationError: a later release wrote them.
    """
    if not sa.inspect(connection).has_table(schema_versions.name):
        return False
    version = connection.scalar(sa.select(sa.func.max(schema_versions.c.version)))
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the ledger's schema has version {version}, this release of airflow-consent-retl knows {SCHEMA_VERSION}: "
            "use the release that wrote it or a later one"
        )
    return bool(version == SCHEMA_VERSION)


def install(connection: sa.Connection) -> None:
    """Create the tables in the open transaction, or add what an earlier version lacks, unless another process just did.

    Raises:
        ConfigurationError: another process created them in a later version.
    """
    if connection.dialect.name == "postgresql":
        # The lock lasts until the commit. `CREATE TABLE IF NOT EXISTS` alone fails if two processes run it at once.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
    if not is_installed(connection):
        present = sa.inspect(connection).get_table_names()
        earlier = [table for table in metadata.sorted_tables if table.name in present]
        metadata.create_all(connection, [t for t in metadata.sorted_tables if t not in earlier], checkfirst=False)
        _add_columns(connection, earlier)
        connection.execute(schema_versions.insert().values(version=SCHEMA_VERSION))
        if connection.scalar(sa.select(sa.func.count()).select_from(identity)) == 0:
            connection.execute(identity.insert().values(id=uuid.uuid4().hex, made_at=datetime.now(UTC)))


def _add_columns(connection: sa.Connection, earlier: Iterable[sa.Table]) -> None:
    """Add the columns that tables of an earlier version lack: each may be NULL."""
    inspector = sa.inspect(connection)
    for table in earlier:
        present = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                added = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                connection.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {added}"))
