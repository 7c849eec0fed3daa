"""The field of a row that a table refuses: the column that the database or the package names, and never a value."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from support.crm_sync import CrmSync
from support.loading import deliver

from airflow_consent_retl.databases.tables.dialects import table_dialect
from airflow_consent_retl.databases.tables.failures import failure_of
from airflow_consent_retl.databases.tables.writer import RowRefusedError, TableTarget, TargetColumn
from airflow_consent_retl.errors import DestinationError
from airflow_consent_retl.reports import RejectedRow, rejected

if TYPE_CHECKING:
    from support.databases import Database
    from support.postgres import Postgres

PEOPLE = """
CREATE TABLE people (
    id BIGINT PRIMARY KEY, email VARCHAR(20) NOT NULL, age SMALLINT CHECK (age >= 18), code TEXT UNIQUE,
    nick TEXT, score SMALLINT, CHECK (score < age), CONSTRAINT one_word CHECK (nick NOT LIKE '% %')
)
"""


def refused(database: Database, rows: pa.Table) -> dict[int, tuple[str, str]]:
    outcomes = deliver(database.destination(), rows)
    return {row: (one.code, one.field) for row, one in enumerate(outcomes) if one.status != "accepted"}


def rows_with_faults() -> pa.Table:
    """Return rows of which each one, but for the first two, breaks another rule."""
    return pa.table(
        {
            "id": range(1, 9),
            "email": ["a@x.example", "b@x.example", None, *["c@x.example"] * 5],
            "age": pa.array([20, 21, 22, 17, 20, 20, 20, 20], pa.int64()),
            "code": ["one", "two", "three", "four", "two", "six", "seven", "eight"],
            "nick": ["a", "b", "c", "d", "e", "f f", "g", "h"],
            "score": pa.array([1, 1, 1, 1, 1, 1, 30, 1], pa.int64()),
        }
    )


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_postgres_names_the_column_of_a_constraint_that_has_one(
    pg: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    connection = json.loads(postgres.airflow_connection(database="crm"))
    connection["extra"] = {"sqlalchemy_scheme": f"postgresql+{driver}"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", json.dumps(connection))
    pg.execute(PEOPLE)
    pg.execute("CREATE UNIQUE INDEX one_nick ON people (nick) INCLUDE (code)")
    pg.execute("INSERT INTO people VALUES (99, 'z@x.example', 20, 'zz', 'h', 1)")

    assert refused(pg, rows_with_faults()) == {
        2: ("not_null", "email"),
        3: ("check", "age"),
        4: ("unique", "code"),
        5: ("check", "nick"),
        # Of two columns.
        6: ("check", ""),
        7: ("unique", "nick"),
    }


def test_a_value_that_is_too_large_for_its_column_names_it(pg: Database) -> None:
    pg.execute(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, email VARCHAR(9), code CHAR(2), age SMALLINT, spent NUMERIC(4, 2))"
    )
    rows = pa.table(
        {
            "id": range(6),
            # Spaces at the end are cut, so the first row is taken.
            "email": ["a@x.test   ", "canary@x.test", "c@x.test", "d@x.test", "e@x.test", "canary@x.test"],
            "code": ["a", "b", "abc", "d", "e", "abc"],
            "age": pa.array([20, 20, 20, 40_000, 20, 20], pa.int64()),
            "spent": pa.array([Decimal("1.5")] * 4 + [Decimal("100.0"), None]),
        }
    )

    assert refused(pg, rows) == {
        1: ("too_long", "email"),
        2: ("too_long", "code"),
        3: ("value_out_of_range", "age"),
        4: ("value_out_of_range", "spent"),
        # Both are too long.
        5: ("too_long", ""),
    }


def test_duckdb_names_a_unique_column(duck: Database) -> None:
    duck.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, code TEXT UNIQUE, a TEXT, b TEXT, UNIQUE (a, b))")
    duck.execute("INSERT INTO people VALUES (9, 'one', 'x', 'y')")
    rows = pa.table({"id": [1, 2, 3], "code": ["one", "two", "three"], "a": ["x"] * 3, "b": ["p", "y", "q"]})

    # Of two columns, none is named.
    assert refused(duck, rows) == {0: ("unique", "code"), 1: ("unique", "")}


def test_sqlite_names_the_column_of_a_constraint_that_has_one(sqlite: Database) -> None:
    sqlite.execute(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT NOT NULL, code TEXT UNIQUE, a TEXT, b TEXT, "
        "UNIQUE (a, b), CHECK (a <> 'no'))"
    )
    sqlite.execute("INSERT INTO people VALUES (99, 'z@x.example', 'one', 'x', 'y')")
    rows = pa.table(
        {
            "id": range(5),
            "email": ["a@x.example", None, *["c@x.example"] * 3],
            "code": ["one", "two", "three", "four", "five"],
            "a": ["a", "a", "x", "no", "e"],
            "b": ["a", "b", "y", "d", "e"],
        }
    )

    assert refused(sqlite, rows) == {
        0: ("unique", "code"),
        1: ("not_null", "email"),
        # Of two columns, and of a condition.
        2: ("unique", ""),
        3: ("check", ""),
    }


def test_a_trigger_of_sqlite_that_speaks_as_a_constraint_shows_no_value(sqlite: Database) -> None:
    sqlite.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT)")
    for number, words in enumerate(["UNIQUE constraint failed: people.canary", "canary"]):
        sqlite.execute(
            f"CREATE TRIGGER t{number} BEFORE INSERT ON people WHEN NEW.id = {number} "
            f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
        )

    found = refused(sqlite, pa.table({"id": [0, 1, 2], "email": ["canary", "canary", "fine"]}))

    assert found == {0: ("trigger", ""), 1: ("trigger", "")}


# The messages of MySQL 8.4 (https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html) and of MariaDB,
# read 2026-11-29. A value in them may look like a name.
MYSQL_MESSAGES = [
    (1048, "Column 'email' cannot be null", "not_null", "email"),
    (1406, "Data too long for column 'email' at row 1", "too_long", "email"),
    (1406, "Data too long for column `crm`.`people`.`email` at row 12", "too_long", "email"),
    (1264, "Out of range value for column 'age' at row 3", "value_out_of_range", "age"),
    (1366, "Incorrect integer value: 'for column 'email' at row 1' for column 'age' at row 2", "datatype", "age"),
    (1292, "Incorrect date value: 'canary' for column 'born' at row 1", "datatype", "born"),
    (1292, "Truncated incorrect DOUBLE value: 'for column 'canary' at row 1'", "datatype", ""),
    (1062, "Duplicate entry 'ann@canary.example' for key 'people.one_email'", "unique", "email"),
    (1062, "Duplicate entry 'ann@canary.example' for key 'one_email'", "unique", "email"),
    (1062, "Duplicate entry 'x' for key 'age'' for key 'people.PRIMARY'", "unique", "id"),
    (1062, "Duplicate entry 'x-y' for key 'people.of_two'", "unique", ""),
    (1062, "Duplicate entry 'canary' for key 'people.canary'", "unique", ""),
    (1406, "Data too long for column 'canary' at row 1", "too_long", ""),
    (3819, "Check constraint 'people_chk_1' is violated.", "check", ""),
    (1644, "canary", "trigger", ""),
]


@pytest.mark.parametrize(("number", "message", "code", "column"), MYSQL_MESSAGES)
def test_mysql_names_the_column_and_never_the_value(number: int, message: str, code: str, column: str) -> None:
    refusal = failure_of_mysql(number, message)

    assert isinstance(refusal, RowRefusedError)
    assert (refusal.code, refusal.column, str(refusal)) == (code, column, code)


def test_a_column_of_mysql_that_no_insert_fills_is_no_fault_of_a_row() -> None:
    refusal = failure_of_mysql(1364, "Field 'email' doesn't have a default value")

    assert isinstance(refusal, DestinationError)
    assert str(refusal) == "a column is NOT NULL, has no default, and no field is mapped to it (error 1364)"


def failure_of_mysql(number: int, message: str) -> Exception:
    names = ["id", "email", "age", "born", "a", "b"]
    target = TableTarget(
        {name: TargetColumn(shown="TEXT", accepts=frozenset({"text"})) for name in names},
        constrained={"PRIMARY": "id", "one_email": "email", "age": "age"},
    )
    error = sa.exc.DBAPIError("INSERT", {}, Exception(number, message))
    return failure_of(error, dialect=table_dialect("mysql"), in_commit=False, table="people", target=target)


def test_another_table_that_a_trigger_writes_to_names_no_column(pg: Database) -> None:
    pg.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT)")
    pg.execute("CREATE TABLE seen (email TEXT NOT NULL)")
    pg.execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO seen VALUES (nullif(NEW.email, 'b')); RETURN NEW; END $$"
    )
    pg.execute("CREATE TRIGGER t BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION note()")

    assert refused(pg, pa.table({"id": [1, 2], "email": ["a", "b"]})) == {1: ("not_null", "")}


def test_a_value_that_no_column_can_hold_exactly_is_refused_with_its_column(database: Database) -> None:
    database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, seen TIMESTAMP)")
    seen = pa.array([1_000, 1_001, None], pa.timestamp("ns"))

    assert refused(database, pa.table({"id": [1, 2, 3], "seen": seen})) == {1: ("too_precise", "seen")}


def test_the_record_of_a_rejected_row_has_code_and_field_and_no_value(
    pg: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pg.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT CHECK (email <> 'canary2') UNIQUE)")
    pg.execute("INSERT INTO people VALUES (99, 'canary3')")
    crm = CrmSync(tmp_path, monkeypatch)
    crm.people(1, 2, 3)

    sql = "SELECT id, 'canary' || id AS email, ads_ok FROM people"
    counts: Any = crm.sync(crm.load_of(conn_id="crm_postgres", max_rejected_ratio=0.9), sql=sql)

    found = rejected("people/crm", workspace=crm.workspace)
    assert sorted(found.rows, key=lambda row: row.id) == [
        RejectedRow(2, "check", "email"),
        RejectedRow(3, "unique", "email"),
    ]
    assert found.run.fields == {"email": 2}
    assert "canary" not in f"{counts} {found} {caplog.text}"
    assert all(b"canary" not in file.read_bytes() for file in crm.folder.glob("records/**/*") if file.is_file())
