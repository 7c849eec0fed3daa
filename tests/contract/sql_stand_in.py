"""What stands at the other side of the SQL table: a real database, seen and disturbed past the destination."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
from contract.postgres_proxy import Proxy
from support.databases import Database

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.testing import Person, StandIn

NO_ANSWER = "what runs in the same process returns or raises, and has no answer to lose"
NO_COLUMN = (
    "duration",
    "month_day_nano_interval",
    "map",
    "list_view",
    "large_list_view",
    "run_end_encoded",
    "extension<arrow.bool8>",
)


class SqlStandIn(StandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        "unreadable_answer": "a driver reads every answer of its database, or says that the connection is lost",
        "requests": "statements of a transaction are no requests that could be counted past the driver",
    }
    missing: ClassVar[str]

    def __init__(self, database: Database, **options: Any) -> None:
        self.database = database
        self.faults = ExitStack()
        self._options = options

    def destination(self) -> Destination:
        return self.database.destination(**self._options)

    def stored(self) -> Sequence[Person]:
        if not self.database.execute(self.missing):
            return []
        unmarked = ' WHERE "removed_at" IS NULL' if "mark_column" in self._options else ""
        return [Person(*row) for row in self.database.execute(f'SELECT id, "text" FROM people{unmarked}')]

    def stored_values(self) -> Mapping[str, object]:
        return dict(self.database.execute('SELECT id, "value" FROM people'))

    def takes(self, kind: pa.DataType) -> bool:
        return not str(kind).startswith(NO_COLUMN)

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self.make(f"CHECK (id NOT IN ({listed(refused)}))")
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self.database.execute("CREATE TABLE visits (person VARCHAR(1000) REFERENCES people (id))")
        for person in held:
            self.database.execute(f"INSERT INTO visits VALUES ({listed([person])})")

    def recover(self) -> None:
        self.faults.close()

    def make(self, *rules: str) -> None:
        """Make the table, where it is not there."""
        marked = '"removed_at" TIMESTAMP' if "mark_column" in self._options else ""
        columns = ["id VARCHAR(1000) PRIMARY KEY", '"text" TEXT', marked, *rules]
        self.database.execute(f"CREATE TABLE IF NOT EXISTS people ({', '.join(filter(None, columns))})")


class FileDatabaseStandIn(SqlStandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        **SqlStandIn.impossible,
        "applied_then_timeout": NO_ANSWER,
        "secrets": "a database in a file is opened without a password",
    }

    def __init__(self, database: Database, file: Path, **options: Any) -> None:
        super().__init__(database, **options)
        self.file = file


class SqliteStandIn(FileDatabaseStandIn):
    missing = "SELECT 1 FROM sqlite_master WHERE name = 'people'"

    def refused(self) -> None:
        if self.file.exists():
            kept = self.file.rename(self.file.with_suffix(".kept"))
            self.faults.callback(lambda: kept.rename(self.file))
        self.faults.callback(self.file.unlink)
        self.file.write_bytes(b"no database " * 1000)

    def unavailable(self) -> None:
        self.make()
        other = sqlite3.connect(self.file)
        self.faults.callback(other.close)
        other.execute("BEGIN IMMEDIATE")

    def partial_removal(self, held: Collection[str]) -> None:
        # SQLite heeds no references unless each connection asks it to.
        action = "UPDATE" if "mark_column" in self._options else "DELETE"
        self.database.execute(
            f"CREATE TRIGGER hold BEFORE {action} ON people WHEN OLD.id IN ({listed(held)}) "
            "BEGIN SELECT RAISE(ABORT, 'has to stay'); END"
        )

    def swallowed_removal(self, held: Collection[str]) -> None:
        action = "UPDATE" if "mark_column" in self._options else "DELETE"
        self.database.execute(
            f"CREATE TRIGGER keep BEFORE {action} ON people WHEN OLD.id IN ({listed(held)}) "
            "BEGIN SELECT RAISE(IGNORE); END"
        )


class DuckDbStandIn(FileDatabaseStandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        **FileDatabaseStandIn.impossible,
        "swallowed_removal": "it has no triggers, rules or policies that swallow a statement",
    }
    missing = "SELECT 1 FROM information_schema.tables WHERE table_name = 'people'"

    def __init__(self, database: Database, file: Path, instance: duckdb.DuckDBPyConnection) -> None:
        super().__init__(database, file)
        self._instance = instance

    def takes(self, kind: pa.DataType) -> bool:
        # DuckDB has no floats of 16 bits, and no decimals beyond 38 digits.
        is_too_wide = pa.types.is_decimal(kind) and kind.precision > 38
        return super().takes(kind) and not is_too_wide and not pa.types.is_float16(kind)

    def unavailable(self) -> None:
        self._instance.close()
        holding = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", holding, str(self.file)]
        other = self.faults.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert other.stdout is not None
        assert other.stdin is not None
        self.faults.callback(other.stdin.close)
        other.stdout.readline()

    def refused(self) -> None:
        # A view of that name: nothing can be written there, now or later.
        self.make()
        self.database.execute("ALTER TABLE people RENAME TO kept")
        self.faults.callback(self.database.execute, "ALTER TABLE kept RENAME TO people")
        self.database.execute("CREATE VIEW people AS SELECT * FROM kept")
        self.faults.callback(self.database.execute, "DROP VIEW people")


class PostgresStandIn(SqlStandIn):
    missing = "SELECT 1 FROM information_schema.tables WHERE table_name = 'people'"

    def __init__(self, database: Database, proxy: Proxy, connection: dict[str, str], set_connection: Any) -> None:
        super().__init__(database)
        self._proxy = proxy
        self._set_connection = set_connection
        self._connection = {**connection, "host": str(proxy.folder), "password": "hunter-4e07"}
        self._connect(self._connection)

    def secrets(self) -> Sequence[str]:
        return [self._connection["password"]]

    def applied_then_timeout(self) -> None:
        self.make()
        self._proxy.loses_commits = True
        self.faults.callback(setattr, self._proxy, "loses_commits", False)

    def unavailable(self) -> None:
        self.make()
        self.database.execute(
            "CREATE OR REPLACE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE SQLSTATE '40P01'; END $$"
        )
        self.database.execute(
            "CREATE TRIGGER busy BEFORE INSERT OR UPDATE OR DELETE ON people "
            "FOR EACH STATEMENT EXECUTE FUNCTION deadlock()"
        )
        self.faults.callback(self.database.execute, "DROP TRIGGER busy ON people")

    def swallowed_removal(self, held: Collection[str]) -> None:
        self.database.execute("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
        self.database.execute(
            f"CREATE TRIGGER keep BEFORE DELETE ON people FOR EACH ROW WHEN (OLD.id IN ({listed(held)})) "
            "EXECUTE FUNCTION keep()"
        )

    def refused(self) -> None:
        self._connect({**self._connection, "login": "nobody"})
        self.faults.callback(self._connect, self._connection)

    def _connect(self, connection: dict[str, str]) -> None:
        self._set_connection("AIRFLOW_CONN_CRM_POSTGRES", json.dumps(connection))


def listed(ids: Collection[str]) -> str:
    return ", ".join(f"'{one}'" for one in sorted(ids))
