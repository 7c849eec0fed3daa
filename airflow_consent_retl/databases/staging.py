"""The interface of a warehouse in which rows are staged, decided and compared.

A database that has one implements it in its folder. An implementation does not know what consent is: it runs SQL that
other modules compiled, reads results as Arrow, loads small and large tables, and writes only into the staging schema.
"""

from __future__ import annotations

import re
import uuid
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

from airflow_consent_retl.databases.database import UTC_ZONE
from airflow_consent_retl.databases.fence import Fenced
from airflow_consent_retl.databases.registry import database_of, titles
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.databases.source import ModelRows

Kind = Literal[
    "model",
    "consent",
    "linked",
    "snapshot",
    "signatures",
    "decided",
    "permitted",
    "decisions",
    "asked",
    "forgotten",
    "compared",
    "touched",
    "batch",
    "delivered",
    "recorded",
]
# A delivered state is kept while the ledger points at it, and what is decided about everyone for the next filter.
LASTING: Final[frozenset[Kind]] = frozenset({"delivered", "recorded"})
# At most 63 bytes: PostgreSQL cuts longer names.
_NAME = re.compile(
    r"consent_retl_(?P<at>\d{8}t\d{6})_(?P<kind>[a-z]+)_(?P<random>[0-9a-f]{16})",
)


@dataclass(frozen=True, slots=True)
class StagingTable:
    """A table of the staging schema. Its name has the time at which it was named and its kind, and is unique.

    Args:
        schema: as in the operator: `staging`, `database.staging` or `project.dataset`.
        name: from `new_name`.
    """

    schema: str
    name: str

    @property
    def kind(self) -> str:
        """The kind of its rows."""
        return _parsed(self.name)["kind"]

    @property
    def made_at(self) -> datetime:
        """The time at which it was named, in UTC."""
        return datetime.strptime(_parsed(self.name)["at"], "%Y%m%dt%H%M%S").replace(tzinfo=UTC)


def new_name(kind: Kind, *, at: datetime) -> str:
    """Return a unique name: `consent_retl_20261124t021300_snapshot_<16 hex digits>`."""
    return f"consent_retl_{at.astimezone(UTC):%Y%m%dt%H%M%S}_{kind}_{uuid.uuid4().hex[:16]}"


def is_staging_name(name: str) -> bool:
    """Return whether only `new_name` can have made a table's name."""
    return _NAME.fullmatch(name) is not None


def _parsed(name: str) -> Mapping[str, str]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError("not the name of a staging table")
    return found.groupdict()


class Warehouse(Fenced):
    """The staging schema of one connection, in one session. A context manager: it connects on entry.

    Every method raises the package's errors, and shows no message of a driver that could quote a row: a
    `ConfigurationError` for a missing right or schema, a `RefusedError` for a missing staging table, a
    `SourceUnavailableError` if another try may help, a `ModelError` for a query that cannot run.

    Args:
        hook: of the connection.
        schema: the staging schema; nothing outside it is ever written.
        conn_id: of the connection, for messages.
        labels: names and values for the labels or tags of jobs, if the warehouse has them.
    """

    # Ibis' and sqlglot's name for the SQL.
    dialect: ClassVar[str]

    def __init__(self, hook: DbApiHook, schema: str, *, conn_id: str, labels: Mapping[str, str] | None = None) -> None:
        self.hook = hook
        self.schema = schema
        self.conn_id = conn_id
        self.labels = dict(labels or {})
        # Bytes of row data read from the warehouse, in Arrow's format.
        self.bytes_read = 0

    @abstractmethod
    def __enter__(self) -> Self:
        """Connect, and check that the staging schema exists."""

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """Cancel a statement that still runs, and disconnect."""

    def table(self, kind: Kind, *, at: datetime) -> StagingTable:
        """Return the name of a new table of the staging schema. The table is not made yet."""
        return StagingTable(self.schema, new_name(kind, at=at))

    @abstractmethod
    def name_of(self, table: StagingTable) -> str:
        """Return the table's full name, quoted, for SQL."""

    @abstractmethod
    def quote(self, column: str) -> str:
        """Return a column's name, quoted, for SQL."""

    @abstractmethod
    def create_as(self, table: StagingTable, query: str, *, expires: bool = True) -> int:
        """Make a table of a query's rows, in one statement, and return the number of rows.

        Args:
            table: new.
            query: a SELECT; the model's own may end in comments.
            expires: whether the warehouse may delete the table after some days; never for `delivered`.
        """

    @abstractmethod
    def creation(self, table: StagingTable, query: str, *, expires: bool = True) -> str:
        """Return the statement that `create_as` runs, for callers that submit it."""

    @abstractmethod
    def count(self, table: StagingTable) -> int:
        """Return the number of rows of a table."""

    @abstractmethod
    def load(
        self, table: StagingTable, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, expires: bool = True
    ) -> int:
        """Make a table of Arrow batches with the warehouse's bulk load, and return the number of its rows.

        Args:
            table: new.
            schema: of every batch. Types in use: bool, int8 to int64, string, binary, date32, timestamp with a
                zone or without one, decimal128, float64.
            batches: are streamed, so that memory is bounded.
            expires: as for `create_as`.
        """

    @contextmanager
    @abstractmethod
    def read(self, query: str, *, batch_rows: int = 32_768) -> Iterator[ModelRows]:
        """Run a SELECT and stream its rows, with the types that an extraction of the same columns would have."""

    @abstractmethod
    def drop(self, table: StagingTable) -> None:
        """Delete a table; a missing table is not an error."""

    @abstractmethod
    def native_types(self, table: StagingTable) -> dict[str, str]:
        """Return the warehouse's name of each column's type, in the columns' order."""

    def check_values(self, table: StagingTable) -> None:
        """Refuse values that a snapshot in files cannot hold, so that both kinds of workspace take the same rows.

        Raises:
            ModelError: names the column, the kind of value and the number of rows.
        """

    @contextmanager
    def in_time_zone(self, time_zone: str) -> Iterator[None]:
        """Run a model's own SQL in the block under its time zone. Every other statement runs under UTC."""
        if time_zone == UTC_ZONE:
            yield
            return
        self.set_time_zone(time_zone)
        yield
        # After an error the session ends with this context's warehouse.
        self.set_time_zone(UTC_ZONE)

    @abstractmethod
    def set_time_zone(self, time_zone: str) -> None:
        """Change the time zone in which the session's next statements run; it begins with UTC."""

    def cancel(self) -> None:
        """Cancel the running statement, from another thread or a signal handler."""

    @abstractmethod
    def tables(self) -> list[StagingTable]:
        """Return the tables of the staging schema whose names this package made."""

    def _counted(self, batches: Iterable[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
        """Add the batches to `bytes_read` as they are read; at the end close what generates them."""
        try:
            for batch in batches:
                self.bytes_read += batch.nbytes
                yield batch
        finally:
            if isinstance(batches, Generator):
                batches.close()


def warehouse(hook: DbApiHook, schema: str, *, conn_id: str, labels: Mapping[str, str] | None = None) -> Warehouse:
    """Return the warehouse behind a connection, not yet entered.

    Raises:
        ConfigurationError: rows cannot be staged on this kind of connection.
    """
    database = database_of(hook.conn_type)
    if not database.staging:
        able = titles(lambda other: other.staging)
        raise ConfigurationError(
            f"connection `{conn_id}` is of type `{hook.conn_type}`, which has no warehouse workspace: {able} have one. "
            "Remove `workspace` to work in files"
        )
    class_: type[Warehouse] = database.load(database.staging)
    return class_(hook, schema, conn_id=conn_id, labels=labels)
