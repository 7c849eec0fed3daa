"""Upserts into real SQLite, DuckDB and PostgreSQL tables, driven through the destination's interface."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from airflow.sdk import BaseHook
from loading import batches_of, deliver, load_of, rejected
from postgres import Postgres

from airflow_consent_retl.destinations.sql_table import LoadToSqlTableOperator, SqlTableDestination
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

CANARY = "canary-5f1c@example.org"
MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
PEOPLE = pa.table({"id": [1, 2, 3], "email": ["a@example.org", None, CANARY], "age": [40, 41, None]})


@dataclass(frozen=True)
class Database:
    """A database of the test's own, seen past the destination."""

    kind: str
    conn_id: str
    execute: Callable[..., list[tuple[Any, ...]]]

    def destination(self, table: str = "people", **options: Any) -> SqlTableDestination:
        operator = LoadToSqlTableOperator(
            task_id="load",
            permitted={},
            destination="crm",
            fields={"id": "id"},
            conn_id=self.conn_id,
            table=table,
            **options,
        )
        destination = operator.build_destination()
        assert isinstance(destination, SqlTableDestination)
        return destination

    def rows(self, table: str = "people", columns: str = "*") -> list[tuple[Any, ...]]:
        return sorted(self.execute(f"SELECT {columns} FROM {table}"), key=str)


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    file = tmp_path / "crm.db"
    connection = {"conn_type": "sqlite", "host": str(file), "extra": {"timeout": "0.05"}}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_SQLITE", json.dumps(connection))

    def execute(sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file)) as connection, connection:
            return connection.execute(sql, parameters).fetchall()

    return Database("sqlite", "crm_sqlite", execute)


@pytest.fixture
def duck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    file = tmp_path / "crm.duckdb"
    monkeypatch.setenv("AIRFLOW_CONN_CRM_DUCKDB", json.dumps({"conn_type": "duckdb", "host": str(file)}))

    def execute(sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(file)) as connection:
            found = connection.execute(sql, parameters)
            columns = found.to_arrow_table().to_pydict() if found.description else {}
            return list(zip(*columns.values(), strict=True))

    return Database("duckdb", "crm_duckdb", execute)


@pytest.fixture
def pg(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    name = f"crm_{uuid.uuid4().hex[:12]}"
    with postgres.connect() as server:
        server.execute(f"CREATE DATABASE {name}")
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", postgres.airflow_connection(database=name))
    with postgres.connect(database=name) as connection:

        def execute(sql: str, *parameters: object) -> list[tuple[Any, ...]]:
            cursor = connection.execute(sql, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

        yield Database("postgres", "crm_postgres", execute)
    with postgres.connect() as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "duck", "pg"])
def database(request: pytest.FixtureRequest) -> Database:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Database)
    return found


def test_makes_the_table_and_inserts_every_row(database: Database) -> None:
    outcomes = deliver(database.destination(), PEOPLE)

    assert rejected(outcomes) == {}
    assert database.rows() == [(1, "a@example.org", 40), (2, None, 41), (3, CANARY, None)]


def test_the_same_load_again_changes_nothing(database: Database) -> None:
    deliver(database.destination(), PEOPLE)
    before = database.rows()

    outcomes = deliver(database.destination(batch_rows=2), PEOPLE)

    assert rejected(outcomes) == {}
    assert database.rows() == before


def test_a_row_that_is_there_is_overwritten_also_with_null(database: Database) -> None:
    deliver(database.destination(), PEOPLE)

    deliver(database.destination(), pa.table({"id": [1, 4], "email": [None, "d@example.org"], "age": [50, 1]}))

    assert database.rows() == [(1, None, 50), (2, None, 41), (3, CANARY, None), (4, "d@example.org", 1)]


def test_null_keeps_what_is_there_when_told_to(database: Database) -> None:
    deliver(database.destination(), PEOPLE)
    changes = pa.table({"id": [1, 3, 4], "email": pa.array([None, "c@example.org", None]), "age": [50, None, None]})

    deliver(database.destination(nulls="keep"), changes)

    assert database.rows() == [(1, "a@example.org", 50), (2, None, 41), (3, "c@example.org", None), (4, None, None)]


def test_columns_that_are_not_mapped_stay_as_they_are(database: Database) -> None:
    database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, note TEXT DEFAULT 'new', email TEXT)")
    database.execute("INSERT INTO people VALUES (1, 'mine', 'old')")

    deliver(database.destination(), PEOPLE.select(["id", "email"]))

    assert database.rows(columns="id, note, email") == [
        (1, "mine", "a@example.org"),
        (2, "new", None),
        (3, "new", CANARY),
    ]


@pytest.mark.parametrize("nulls", ["overwrite", "keep"])
def test_a_load_of_keys_alone_inserts_the_new_ones(database: Database, nulls: str) -> None:
    deliver(database.destination(), pa.table({"id": [1, 2]}))

    outcomes = deliver(database.destination(nulls=nulls), pa.table({"id": [2, 3]}))

    assert rejected(outcomes) == {}
    assert database.rows() == [(1,), (2,), (3,)]


def test_a_load_without_rows_makes_the_table_and_leaves_what_is_in_it(database: Database) -> None:
    deliver(database.destination(), PEOPLE.slice(0, 0))
    assert database.rows() == []
    deliver(database.destination(), PEOPLE)

    deliver(database.destination(), PEOPLE.slice(0, 0))

    assert len(database.rows()) == 3


def test_a_unique_constraint_serves_as_key(database: Database) -> None:
    database.execute("CREATE TABLE people (nr INTEGER PRIMARY KEY, id BIGINT UNIQUE, email TEXT, age BIGINT)")
    if database.kind != "sqlite":
        database.execute("DROP TABLE people")
        database.execute("CREATE SEQUENCE numbers")
        database.execute(
            "CREATE TABLE people "
            "(nr INTEGER PRIMARY KEY DEFAULT nextval('numbers'), id BIGINT UNIQUE, email TEXT, age BIGINT)"
        )

    deliver(database.destination(), PEOPLE)
    outcomes = deliver(database.destination(), PEOPLE)

    assert rejected(outcomes) == {}
    assert database.rows(columns="id, email") == [(1, "a@example.org"), (2, None), (3, CANARY)]


AWKWARD = ['select "x"', "order", "Zoë 🦊", "a b", "x%s", ":y", "(z)", "a.b", "'; DROP TABLE people; --", "?", "[q]", "%"]


def test_names_are_quoted_whatever_they_hold(database: Database) -> None:
    rows = pa.table({"group": [1, 2], **{name: ["x", "y"] for name in AWKWARD}})
    table = '"a.b""; DROP TABLE people; --"'

    deliver(database.destination(table), rows, load_of(rows, key_field="group"))
    outcomes = deliver(database.destination(table, nulls="keep"), rows, load_of(rows, key_field="group"))

    assert rejected(outcomes) == {}
    assert database.rows(table) == [(1, *["x"] * len(AWKWARD)), (2, *["y"] * len(AWKWARD))]


def test_writes_into_the_schema_that_is_named(duck: Database, pg: Database) -> None:
    for database in (duck, pg):
        database.execute('CREATE SCHEMA "my crm"')

        deliver(database.destination("my crm.people"), PEOPLE)
        deliver(database.destination("my crm.people", nulls="keep"), PEOPLE)

        assert len(database.rows('"my crm".people')) == 3


EXACT = pa.table(
    {
        "id": pa.array(["2", "02", "1e5"], pa.string()),
        "big": pa.array([2**63 - 1, -(2**63), None], pa.int64()),
        "unsigned": pa.array([2**32 - 1, 0, None], pa.uint32()),
        "flag": pa.array([True, False, None], pa.bool_()),
        "price": pa.array([Decimal("12345678901234567890.12345678"), Decimal("0.00000001"), None], pa.decimal128(38, 8)),
        "ratio": pa.array([0.1, -1e300, None], pa.float64()),
        "name": pa.array(["Zoë 🦊", "", None], pa.string()),
        "at": pa.array([MOMENT, MOMENT, None], pa.timestamp("us", tz="Europe/Amsterdam")),
        "local": pa.array([MOMENT.replace(tzinfo=None), None, None], pa.timestamp("us")),
        "day": pa.array([date(2026, 2, 3), None, None], pa.date32()),
        "hour": pa.array([time(4, 5, 6, 7), None, None], pa.time64("us")),
        "raw": pa.array([b"\x00\xff", b"", None], pa.binary()),
        "tags": pa.array([["a", "b"], [], None], pa.list_(pa.string())),
        "tier": pa.array(["gold", "1", None]).dictionary_encode(),
    }
)


def test_sqlite_holds_every_value_exactly(sqlite: Database) -> None:
    deliver(sqlite.destination(), EXACT)
    deliver(sqlite.destination(), EXACT)

    found = {row[0]: row[1:] for row in sqlite.rows()}
    assert found["2"] == (
        2**63 - 1,
        2**32 - 1,
        1,
        "12345678901234567890.12345678",
        0.1,
        "Zoë 🦊",
        "2026-02-03 04:05:06.789012+00:00",
        "2026-02-03 04:05:06.789012",
        "2026-02-03",
        "04:05:06.000007",
        b"\x00\xff",
        '["a","b"]',
        "gold",
    )
    assert found["02"][:6] == (-(2**63), 0, 0, "0.00000001", -1e300, "")
    assert found["02"][-1] == "1"
    assert found["1e5"] == (None,) * 13


def test_postgres_holds_every_value_exactly(pg: Database) -> None:
    deliver(pg.destination(), EXACT)
    deliver(pg.destination(), EXACT)

    assert pg.rows() == sorted((tuple(row.values()) for row in EXACT.to_pylist()), key=str)
    kinds = dict(pg.execute("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'people'"))
    assert kinds["at"] == "timestamp with time zone"
    assert kinds["tags"] == "jsonb"


def test_duckdb_holds_every_value_exactly(duck: Database) -> None:
    deliver(duck.destination(), EXACT)
    deliver(duck.destination(), EXACT)

    assert duck.rows() == sorted((tuple(row.values()) for row in EXACT.to_pylist()), key=str)


def test_values_that_sqlite_cannot_hold_exactly_are_rejected(sqlite: Database) -> None:
    rows = pa.table(
        {
            "id": [1, 2, 3, 4],
            "ratio": [float("nan"), 1.0, 1.0, 1.0],
            "at": pa.array([0, 1, 10**18 + 1, 10**18], pa.timestamp("ns")),
        }
    )

    outcomes = deliver(sqlite.destination(), rows)

    assert rejected(outcomes) == {0: "not_a_number", 1: "too_precise", 2: "too_precise"}
    assert [row[0] for row in sqlite.rows()] == [4]


def test_years_that_no_driver_can_bind_are_rejected(pg: Database, sqlite: Database) -> None:
    rows = pa.table({"id": [1, 2], "at": pa.array([4 * 10**17, 0], pa.timestamp("us", tz="UTC"))})

    for database in (pg, sqlite):
        assert rejected(deliver(database.destination(), rows)) == {0: "year_out_of_range"}


def test_numbers_that_are_none_are_numbers_in_postgres_and_duckdb(pg: Database, duck: Database) -> None:
    for database in (pg, duck):
        deliver(database.destination(), pa.table({"id": [1], "ratio": [float("inf")]}))

        assert database.rows() == [(1, float("inf"))]


def test_text_that_is_not_utf_8_is_rejected(pg: Database, sqlite: Database) -> None:
    rows = pa.table({"id": [1, 2], "email": pa.array([b"\xff", b"ok"]).view(pa.string())})

    for database in (pg, sqlite):
        assert rejected(deliver(database.destination(), rows)) == {0: "not_utf8"}
        assert database.rows() == [(2, "ok")]


def test_a_row_without_its_key_is_rejected(database: Database) -> None:
    outcomes = deliver(database.destination(), pa.table({"id": [1, None, 3], "email": ["a", "b", "c"]}))

    assert rejected(outcomes) == {1: "not_null"}
    assert [row[0] for row in database.rows()] == [1, 3]


def people_with_rules(database: Database) -> None:
    database.execute(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, email VARCHAR(20) NOT NULL, "
        "age SMALLINT CHECK (age >= 18), code TEXT UNIQUE)"
    )


@pytest.mark.parametrize("batch_rows", [1, 7, 100])
def test_only_the_rows_that_break_a_rule_are_rejected(database: Database, batch_rows: int) -> None:
    people_with_rules(database)
    rows = pa.table(
        {
            "id": range(20),
            "email": [None if row == 3 else f"{row}@example.org" for row in range(20)],
            "age": pa.array([17 if row in {5, 6} else 20 for row in range(20)], pa.int16()),
            "code": ["same" if row in {8, 19} else str(row) for row in range(20)],
        }
    )

    outcomes = deliver(database.destination(batch_rows=batch_rows), rows)

    assert rejected(outcomes) == {3: "not_null", 5: "check", 6: "check", 19: "unique"}
    assert {row[0] for row in database.rows()} == set(range(20)) - {3, 5, 6, 19}


def test_values_too_large_or_too_long_are_rejected_one_by_one(pg: Database) -> None:
    people_with_rules(pg)
    rows = pa.table(
        {
            "id": range(4),
            "email": ["a", "x" * 21, "c", "nul\0"],
            "age": pa.array([20, 20, 10**6, 20], pa.int64()),
        }
    )

    outcomes = deliver(pg.destination(), rows)

    assert rejected(outcomes) == {1: "too_long", 2: "value_out_of_range", 3: "data_error"}
    assert pg.rows(columns="id, email") == [(0, "a")]


def test_values_too_large_for_duckdb_columns_are_rejected_one_by_one(duck: Database) -> None:
    duck.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, age TINYINT)")

    outcomes = deliver(duck.destination(), pa.table({"id": [1, 2, 2**40], "age": [1, 1000, 1]}))

    assert set(rejected(outcomes)) == {1, 2}
    assert duck.rows() == [(1, 1)]


def test_integers_too_large_for_sqlite_are_rejected(sqlite: Database) -> None:
    sqlite.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, age BIGINT)")

    outcomes = deliver(sqlite.destination(), pa.table({"id": [1, 2], "age": pa.array([1, 2**64 - 1], pa.uint64())}))

    assert rejected(outcomes) == {1: "value_out_of_range"}
    assert sqlite.rows() == [(1, 1)]


def test_text_that_the_database_parses_itself_is_rejected_where_it_cannot(pg: Database) -> None:
    pg.execute("CREATE TABLE people (id UUID PRIMARY KEY, at INET, extra JSONB)")
    key = "0190163d-8694-739b-aea5-966c26f8ad91"
    rows = pa.table({"id": [key, "no-uuid", key.replace("0", "1")], "at": ["10.0.0.1", None, CANARY], "extra": ["{}"] * 3})

    outcomes = deliver(pg.destination(), rows)

    assert rejected(outcomes) == {1: "sqlstate_22P02", 2: "sqlstate_22P02"}
    assert [str(row[0]) for row in pg.rows()] == [key]


def test_a_trigger_that_refuses_a_row_rejects_it(pg: Database) -> None:
    deliver(pg.destination(), PEOPLE)
    pg.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.age = 41 THEN RAISE 'no % here', NEW.email; END IF; RETURN NEW; END $$"
    )
    pg.execute("CREATE TRIGGER t BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION refuse()")

    assert rejected(deliver(pg.destination(), PEOPLE)) == {1: "sqlstate_P0001"}


def test_a_table_dropped_under_way_stops_the_load_and_no_message_quotes_a_row(database: Database) -> None:
    destination = database.destination(batch_rows=1)
    destination.open(load_of(PEOPLE))
    batches = list(batches_of(PEOPLE, batch_rows=1))
    destination.send(batches[0])
    if database.kind == "duckdb":
        with BaseHook.get_connection(database.conn_id).get_hook().get_conn() as other:  # type: ignore[no-untyped-call]
            other.execute("DROP TABLE people")
    else:
        database.execute("DROP TABLE people")

    with pytest.raises(DestinationError, match="table `people`") as raised:
        destination.send(batches[2])

    destination.abort()
    assert CANARY not in _everything(raised.value)


def _everything(error: BaseException) -> str:
    texts = []
    current: BaseException | None = error
    while current is not None:
        texts += [str(current), repr(current)]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return " ".join(texts)


def test_rights_that_are_missing_stop_the_load(pg: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(pg.destination(), PEOPLE)
    pg.execute("DROP ROLE IF EXISTS reader")
    pg.execute("CREATE ROLE reader LOGIN")
    pg.execute("GRANT SELECT ON people TO reader")
    [(name,)] = pg.execute("SELECT current_database()")
    connection = json.loads(postgres.airflow_connection(database=name)) | {"login": "reader"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", json.dumps(connection))

    with pytest.raises(DestinationError, match=r"no permission \(SQLSTATE 42501\)") as raised:
        deliver(pg.destination(), PEOPLE)

    pg.execute("DROP OWNED BY reader")
    pg.execute("DROP ROLE reader")
    assert CANARY not in _everything(raised.value)


def test_the_extras_of_a_postgres_connection_are_honoured(
    pg: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    pg.execute("CREATE SCHEMA crm")
    [(name,)] = pg.execute("SELECT current_database()")
    connection = json.loads(postgres.airflow_connection(database=name))
    connection["extra"] = {"options": "-c search_path=crm", "cursor": "dictcursor"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", json.dumps(connection))

    deliver(pg.destination(), PEOPLE)

    assert len(pg.rows("crm.people")) == 3


def test_a_locked_sqlite_file_is_worth_another_try(sqlite: Database, tmp_path: Path) -> None:
    destination = sqlite.destination()
    destination.open(load_of(PEOPLE))
    with closing(sqlite3.connect(tmp_path / "crm.db")) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(DestinationUnavailableError, match="nothing of the batch was applied .sqlite_busy"):
            destination.send(next(batches_of(PEOPLE, batch_rows=10)))

    destination.abort()
    assert sqlite.rows() == []


def test_a_duckdb_file_that_another_process_holds_is_worth_another_try(duck: Database, tmp_path: Path) -> None:
    import subprocess
    import sys

    holding = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holding, str(tmp_path / "crm.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()

        with pytest.raises(DestinationUnavailableError, match="another process has it"):
            deliver(duck.destination(), PEOPLE)

        other.communicate()
    deliver(duck.destination(), PEOPLE)


def test_a_deadlock_is_tried_again(pg: Database, postgres: Postgres) -> None:
    deliver(pg.destination(), PEOPLE)
    pg.execute(
        "CREATE FUNCTION once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('tries') < 3 THEN RAISE SQLSTATE '40P01'; END IF; RETURN NEW; END $$"
    )
    pg.execute("CREATE SEQUENCE tries")
    pg.execute("CREATE TRIGGER t BEFORE INSERT ON people FOR EACH STATEMENT EXECUTE FUNCTION once()")

    assert rejected(deliver(pg.destination(), PEOPLE)) == {}


def test_a_connection_that_breaks_is_made_again(pg: Database) -> None:
    destination = pg.destination(batch_rows=1)
    destination.open(load_of(PEOPLE))
    batches = list(batches_of(PEOPLE, batch_rows=1))
    destination.send(batches[0])

    pg.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")
    outcomes = destination.send(batches[1])

    destination.commit()
    assert rejected(outcomes) == {}
    assert len(pg.rows()) == 2


def killed_in_commit(pg: Database, *, times: int) -> None:
    """Make the server end the connection inside COMMIT, where nobody can know what became of the rows."""
    pg.execute("CREATE SEQUENCE tries")
    pg.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF nextval('tries') <= {times} THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; "
        "RETURN NULL; END $$"
    )
    pg.execute(
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON people DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION die()"
    )


def test_a_connection_lost_in_commit_is_tried_again_because_an_upsert_may_be(pg: Database) -> None:
    deliver(pg.destination(), PEOPLE.slice(0, 0))
    killed_in_commit(pg, times=1)

    assert rejected(deliver(pg.destination(), PEOPLE)) == {}
    assert len(pg.rows()) == 3


def test_rows_are_uncertain_when_every_commit_stays_without_an_answer(pg: Database) -> None:
    deliver(pg.destination(), PEOPLE.slice(0, 0))
    killed_in_commit(pg, times=1000)

    outcomes = deliver(pg.destination(), PEOPLE)

    assert {outcome.status for outcome in outcomes} == {"uncertain"}
    assert set(rejected(outcomes).values()) == {"connection_lost"}


def test_a_constraint_checked_in_commit_rejects_its_rows(pg: Database) -> None:
    pg.execute(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT, age BIGINT, UNIQUE (age) DEFERRABLE INITIALLY DEFERRED)"
    )
    rows = pa.table({"id": [1, 2, 3], "email": ["a", "b", "c"], "age": [5, 6, 5]})

    outcomes = deliver(pg.destination(), rows)

    assert rejected(outcomes) == {2: "unique"}


Refusal = tuple[str | None, Sequence[str], str]


def test_the_key_has_to_be_mapped(database: Database) -> None:
    rows = PEOPLE.select(["email"])

    with pytest.raises(ConfigurationError, match="primary key of model `customers` is not mapped"):
        deliver(database.destination(), rows, load_of(rows, key_field=None))


def test_a_missing_table_is_an_error_when_it_must_not_be_made(database: Database) -> None:
    database.execute("CREATE TABLE peeple (id BIGINT PRIMARY KEY)")

    with pytest.raises(ConfigurationError, match=r"table `people` does not exist, did you mean `peeple`\?"):
        deliver(database.destination(create_table=False), PEOPLE)


def test_a_view_is_no_table(database: Database) -> None:
    database.execute("CREATE VIEW people AS SELECT 1 AS id")

    with pytest.raises(ConfigurationError, match="`people` is a view"):
        deliver(database.destination(), PEOPLE)


def test_a_materialized_view_is_no_table(pg: Database) -> None:
    pg.execute("CREATE MATERIALIZED VIEW people AS SELECT 1 AS id")

    with pytest.raises(ConfigurationError, match="`people` is a view"):
        deliver(pg.destination(), PEOPLE)


def test_a_missing_schema_is_an_error(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="there is no schema `nowhere`"):
        deliver(database.destination("nowhere.people"), PEOPLE)


def test_all_that_keeps_a_table_from_taking_the_rows_is_said_at_once(database: Database) -> None:
    database.execute("CREATE TABLE people (id BIGINT, e_mail TEXT, age TEXT, must TEXT NOT NULL, may TEXT NOT NULL DEFAULT 'x')")

    with pytest.raises(ConfigurationError) as raised:
        deliver(database.destination(), PEOPLE)

    shown = "VARCHAR" if database.kind == "duckdb" else "TEXT"
    assert str(raised.value) == (
        "table `people` does not suit the fields, 4 problems:\n"
        "- there is no column `email`, did you mean `e_mail`?\n"
        f"- field `age` (int64) does not fit column `age` ({shown}): cast it in the model\n"
        "- `id` is neither its primary key nor unique by itself\n"
        "- column `must` takes no NULL, has no default, and no field is mapped to it"
    )


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("BIGINT", pa.array(["2"])),
        ("BIGINT", pa.array([2.0])),
        ("BIGINT", pa.array([Decimal("2.0")])),
        ("DOUBLE PRECISION", pa.array([2])),
        ("REAL", pa.array([0.1]) if False else pa.array([Decimal("0.1")])),
        ("TEXT", pa.array([True])),
        ("TEXT", pa.array([b"x"])),
        ("DATE", pa.array(["x"])),
        ("BOOLEAN", pa.array(["true"])),
    ],
)
def test_a_field_whose_values_would_change_in_the_column_is_refused(
    database: Database, column: str, values: pa.Array
) -> None:
    database.execute(f"CREATE TABLE people (id BIGINT PRIMARY KEY, x {column})")

    with pytest.raises(ConfigurationError, match=r"field `x` .* does not fit column `x`"):
        deliver(database.destination(), pa.table({"id": [1], "x": values}))


def test_a_moment_without_a_zone_is_no_moment_with_one(duck: Database, pg: Database) -> None:
    naive, zoned = pa.array([0], pa.timestamp("us")), pa.array([0], pa.timestamp("us", tz="UTC"))
    for database in (duck, pg):
        database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, a TIMESTAMP, b TIMESTAMP WITH TIME ZONE)")

        with pytest.raises(ConfigurationError, match="2 problems"):
            deliver(database.destination(), pa.table({"id": [1], "a": zoned, "b": naive}))


def test_a_decimal_that_would_be_rounded_is_refused(duck: Database, pg: Database) -> None:
    rows = pa.table({"id": [1], "price": pa.array([Decimal("0.125")], pa.decimal128(10, 3))})
    for database in (duck, pg):
        database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, price NUMERIC(10, 2))")

        with pytest.raises(ConfigurationError, match="would be rounded by column `price`"):
            deliver(database.destination(), rows)


def test_a_decimal_column_of_sqlite_would_make_floats_and_is_refused(sqlite: Database) -> None:
    sqlite.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, price NUMERIC(10, 2))")

    with pytest.raises(ConfigurationError, match="does not fit column `price`"):
        deliver(sqlite.destination(), pa.table({"id": [1], "price": pa.array([Decimal("0.12")])}))


def test_a_partial_unique_index_is_no_key(sqlite: Database, pg: Database) -> None:
    for database in (sqlite, pg):
        database.execute("CREATE TABLE people (id BIGINT, email TEXT, age BIGINT)")
        database.execute("CREATE UNIQUE INDEX u ON people (id) WHERE age > 3")

        with pytest.raises(ConfigurationError, match="neither its primary key nor unique"):
            deliver(database.destination(), PEOPLE)


def test_a_generated_column_is_not_written_to(pg: Database) -> None:
    pg.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT, age BIGINT GENERATED ALWAYS AS (id + 1) STORED)")

    with pytest.raises(ConfigurationError, match="column `age` is generated by the database"):
        deliver(pg.destination(), PEOPLE)


def test_fields_of_a_type_that_no_column_holds_are_refused(database: Database) -> None:
    rows = pa.table({"id": [1], "took": pa.array([1], pa.duration("s"))})

    with pytest.raises(ConfigurationError, match=r"no column can hold `took`"):
        deliver(database.destination(), rows)


def test_fields_that_would_be_one_column_are_refused(sqlite: Database, duck: Database) -> None:
    for database in (sqlite, duck):
        with pytest.raises(ConfigurationError, match="`a` and `A` would be the same column"):
            deliver(database.destination(), pa.table({"id": [1], "a": [1], "A": [2]}))


@pytest.mark.parametrize("table", ["", ".", "a.", ".a", "a.b.c", '"a', "a\0b", '"a"b'])
def test_what_names_no_table_is_refused(sqlite: Database, table: str) -> None:
    with pytest.raises(ConfigurationError, match="names no table"):
        sqlite.destination(table)


@pytest.mark.parametrize("options", [{"nulls": "drop"}, {"batch_rows": 0}])
def test_an_option_that_means_nothing_is_refused(sqlite: Database, options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        sqlite.destination(**options)


def test_a_connection_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="there is no connection `nowhere`"):
        Database("none", "nowhere", list).destination()


@pytest.mark.parametrize("kind", ["consent_policy", "nosuch", "fs"])
def test_a_connection_that_is_no_database_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": kind}))

    with pytest.raises(ConfigurationError, match="connection `other`"):
        Database("none", "other", list).destination()


def test_a_server_that_does_not_answer_is_worth_another_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connection = {"conn_type": "postgres", "host": str(tmp_path), "login": "x", "password": "hunter2"}
    monkeypatch.setenv("AIRFLOW_CONN_GONE", json.dumps(connection))

    with pytest.raises(DestinationUnavailableError, match="connection `gone`: the database does not answer") as raised:
        deliver(Database("postgres", "gone", list).destination(), PEOPLE)

    assert "hunter2" not in _everything(raised.value)


def test_a_database_that_does_not_exist_is_not(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GONE", postgres.airflow_connection(database="nowhere"))

    with pytest.raises(DestinationError, match="connection `gone`"):
        deliver(Database("postgres", "gone", list).destination(), PEOPLE)


def test_a_file_that_is_no_database_is_refused(sqlite: Database, duck: Database, tmp_path: Path) -> None:
    for database, file in ((sqlite, "crm.db"), (duck, "crm.duckdb")):
        (tmp_path / file).write_bytes(CANARY.encode() * 1000)

        with pytest.raises((DestinationError, DestinationUnavailableError)) as raised:
            deliver(database.destination(), PEOPLE)

        assert CANARY not in _everything(raised.value)
