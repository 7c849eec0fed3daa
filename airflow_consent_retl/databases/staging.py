"""What a warehouse has to be able to do, for rows to be staged, decided and compared inside it.

One file beside this one for each kind of connection. None of them knows what consent is: they run SQL that others
compiled, read results as Arrow, load small and large tables, and write nowhere but into the staging schema.
"""

from __future__ import annotations

import re
import uuid
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Literal, Self

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
    "snapshot",
    "signatures",
    "decided",
    "permitted",
    "decisions",
    "asked",
    "compared",
    "touched",
    "batch",
    "delivered",
]
# PostgreSQL cuts names at 63 octets.
_NAME = re.compile(
    r"consent_retl_(?P<at>\d{8}t\d{6})_(?P<kind>[a-z]+)_(?P<random>[0-9a-f]{16})",
)


@dataclass(frozen=True, slots=True)
class StagingTable:
    """A table of the staging schema. Its name says when it was made and what it holds, and never occurs twice.

    Args:
        schema: as the operator names it: `staging`, or `database.staging`, or `project.dataset`.
        name: as `new_name` makes it.
    """

    schema: str
    name: str

    @property
    def kind(self) -> str:
        """What it holds."""
        return _parsed(self.name)["kind"]

    @property
    def made_at(self) -> datetime:
        """When it was named, in UTC."""
        return datetime.strptime(_parsed(self.name)["at"], "%Y%m%dt%H%M%S").replace(tzinfo=UTC)


def new_name(kind: Kind, *, at: datetime) -> str:
    """Return a name that no other table has: `consent_retl_20261124t021300_snapshot_<16 hex digits>`."""
    return f"consent_retl_{at.astimezone(UTC):%Y%m%dt%H%M%S}_{kind}_{uuid.uuid4().hex[:16]}"


def is_staging_name(name: str) -> bool:
    """Tell whether a table of this name can only be one that `new_name` named."""
    return _NAME.fullmatch(name) is not None


def _parsed(name: str) -> Mapping[str, str]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError("not the name of a staging table")
    return found.groupdict()


class Warehouse(Fenced):
    """The staging schema of one connection, in one session. A context manager: it connects when it is entered.

    Every method raises the package's errors and lets no message of a driver pass that could quote a row: a missing
    right or schema is a `ConfigurationError`, a staging table that is gone a `RefusedError`, what another try may
    mend a `SourceUnavailableError`, a query that cannot run a `ModelError`.

    Args:
        hook: of the connection.
        schema: the staging schema; nothing outside of it is ever written.
        conn_id: of the connection, for messages.
        labels: names and values that are put on jobs, where the warehouse has such a thing.
    """

    # Ibis' and sqlglot's name for the SQL.
    dialect: ClassVar[str]

    def __init__(self, hook: DbApiHook, schema: str, *, conn_id: str, labels: Mapping[str, str] | None = None) -> None:
        self.hook = hook
        self.schema = schema
        self.conn_id = conn_id
        self.labels = dict(labels or {})
        # Octets of row data that were read from the warehouse, as Arrow holds them.
        self.bytes_read = 0

    @abstractmethod
    def __enter__(self) -> Self:
        """Connect, and check that the staging schema is there."""

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """Cancel what still runs, and disconnect."""

    def table(self, kind: Kind, *, at: datetime) -> StagingTable:
        """Name a new table of the staging schema. Nothing is made yet."""
        return StagingTable(self.schema, new_name(kind, at=at))

    @abstractmethod
    def name_of(self, table: StagingTable) -> str:
        """Return the table's full name, quoted, for SQL."""

    @abstractmethod
    def quote(self, column: str) -> str:
        """Return a column's name, quoted, for SQL."""

    @abstractmethod
    def create_as(self, table: StagingTable, query: str, *, expires: bool = True) -> int:
        """Make a table of a query's rows, in one statement, and return how many there are.

        Args:
            table: new.
            query: a SELECT, possibly the model's own, with comments at its end.
            expires: whether the warehouse may delete it by itself after some days; never so for `delivered`.
        """

    @abstractmethod
    def creation(self, table: StagingTable, query: str, *, expires: bool = True) -> str:
        """Return the statement that `create_as` runs, for whoever has it run without waiting."""

    @abstractmethod
    def count(self, table: StagingTable) -> int:
        """Return how many rows a table holds."""

    @abstractmethod
    def load(
        self, table: StagingTable, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, expires: bool = True
    ) -> int:
        """Make a table of Arrow batches, by the warehouse's bulk way, and return how many rows it holds.

        Args:
            table: new.
            schema: of every batch. Types that are used: bool, int8 to int64, string, binary, date32, timestamp with a
                zone or without one, decimal128, float64.
            batches: are streamed: memory is bounded.
            expires: as for `create_as`.
        """

    @contextmanager
    @abstractmethod
    def read(self, query: str, *, batch_rows: int = 32_768) -> Iterator[ModelRows]:
        """Run a SELECT and stream its rows, with the types that an extraction of the same columns has."""
        raise NotImplementedError

    @abstractmethod
    def drop(self, table: StagingTable) -> None:
        """Delete a table; one that is not there is no error."""

    @abstractmethod
    def native_types(self, table: StagingTable) -> dict[str, str]:
        """Return the type of each column as the warehouse names it, in the columns' order."""

    def cancel(self) -> None:
        """Have the running statement stopped, from another thread or a signal handler."""

    @abstractmethod
    def tables(self) -> list[StagingTable]:
        """Return the tables of the staging schema whose names this package made."""


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
