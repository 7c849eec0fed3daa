"""People taken out of real SQLite, DuckDB and PostgreSQL tables: deleted or marked, and never without a lease."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from airflow.sdk import BaseHook
from support.loading import Lease, batches_of, deliver, load_of, rejected, take_back

from airflow_consent_retl.contract.outcomes import Outcome, RowStatus
from airflow_consent_retl.databases.tables.core import CoreWriter
from airflow_consent_retl.databases.tables.removal_marks import Mark
from airflow_consent_retl.databases.tables.table_name import TableName
from airflow_consent_retl.errors import ConfigurationError, DestinationUnavailableError, LeaseLostError

if TYPE_CHECKING:
    from support.databases import Database

PEOPLE = pa.table({"id": [1, 2, 3], "email": ["a@example.org", None, "c@example.org"], "age": [40, 41, None]})
MARK = {"on_remove": "mark", "mark_column": "removed_at"}
FLAG = {"on_remove": "mark", "mark_column": "gone"}


def removal_of(rows: pa.Table = PEOPLE, **options: Any) -> Any:
    return load_of(rows, rows_sent=0, **options)


def ids(*values: object) -> pa.Table:
    return pa.table({"id": pa.array(values, pa.int64())})


def test_deletes_those_who_are_named_and_nobody_else(database: Database) -> None:
    deliver(database.destination(), PEOPLE)

    outcomes = take_back(database.destination(), ids(1, 3), removal_of())

    assert rejected(outcomes) == {}
    assert database.rows() == [(2, None, 41)]


def test_somebody_who_is_not_there_is_removed_also_when_asked_again(database: Database) -> None:
    deliver(database.destination(), PEOPLE)

    for _ in range(2):
        assert rejected(take_back(database.destination(), ids(1, 99, None, 1), removal_of())) == {}

    assert len(database.rows()) == 2


@pytest.mark.parametrize("batch_rows", [1, 300, 5_000])
@pytest.mark.long
def test_deletes_many_whatever_the_batches(database: Database, batch_rows: int) -> None:
    people = pa.table({"id": range(1_300)})
    deliver(database.destination(), people)

    outcomes = take_back(database.destination(batch_rows=batch_rows), people.slice(0, 1_201), removal_of(people))

    assert len(outcomes) == 1_201
    assert rejected(outcomes) == {}
    assert len(database.rows()) == 99


KEYS = {
    "text": pa.array(["1", "01", "Zoë 🦊", "'; DROP TABLE people; --", ""]),
    "tier": pa.array(["a", "b", "A", "c", "d"]).dictionary_encode(),
    "large": pa.array([2**63 - 1, -(2**63), 0, 1, 2], pa.int64()),
    "decimal": pa.array([Decimal(text) for text in ("0.10", "-1.00", "2.50", "3.00", "4.00")], pa.decimal128(20, 2)),
    "moment": pa.array([datetime(2026, 1, day, 3, 4, 5, 678, tzinfo=UTC) for day in range(1, 6)]),
    "binary": pa.array([b"\x00", b"\xff", b"", b"a", b"b"]),
}


@pytest.mark.parametrize("key", KEYS)
def test_finds_people_by_keys_of_every_kind(database: Database, key: str) -> None:
    people = pa.table({"id": KEYS[key], "nr": range(5)})
    deliver(database.destination(), people)

    outcomes = take_back(database.destination(), people.select(["id"]).slice(1, 3), removal_of(people))

    assert rejected(outcomes) == {}
    assert database.rows(columns="nr") == [(0,), (4,)]


def test_finds_people_by_keys_that_the_database_parses_itself(pg: Database, duck: Database) -> None:
    key = "0190163d-8694-739b-aea5-966c26f8ad91"
    people = pa.table({"id": [key.upper(), key.replace("0", "1")]})
    nobody = pa.table({"id": [key.upper(), "no-uuid"]})
    for database in (pg, duck):
        # Earlier releases delivered keys in any spelling.
        database.execute("CREATE TABLE people (id UUID PRIMARY KEY)")
        database.execute(f"INSERT INTO people VALUES ('{key}'), ('{key.replace('0', '1')}')")

        outcomes = take_back(database.destination(), nobody, removal_of(people))

        assert rejected(outcomes) == {}
        assert [str(row[0]) for row in database.rows()] == [key.replace("0", "1")]


def test_finds_people_by_keys_of_a_list_of_words(pg: Database, duck: Database) -> None:
    people = pa.table({"id": ["it's", "b"]})
    for database in (pg, duck):
        database.execute("CREATE TYPE word AS ENUM ('it''s', 'b')")
        database.execute("CREATE TABLE people (id word PRIMARY KEY)")
        deliver(database.destination(), people)

        outcomes = take_back(database.destination(), pa.table({"id": ["it's", "c"]}), removal_of(people))

        assert rejected(outcomes) == {}
        assert database.rows() == [("b",)]


def test_a_key_that_no_row_can_have_is_not_there(database: Database) -> None:
    people = pa.table({"id": pa.array([b"a", b"\xff", b"nul\0"]).view(pa.string())})
    deliver(database.destination(), people.slice(0, 1))

    outcomes = take_back(database.destination(), people, removal_of(people))

    assert rejected(outcomes) == {}
    assert database.rows() == []


def test_names_are_quoted_whatever_they_hold(database: Database) -> None:
    people = pa.table({'id "x" %s :y ?': [1, 2], "moment": ["x", "y"], "keys": ["x", "y"]})
    table = '"a.b""; DROP TABLE people; --"'
    key = people.column_names[0]
    options = {"on_remove": "mark", "mark_column": "gone (%s) :z ?", "mark_nulls": True}
    deliver(database.destination(table, **options), people, load_of(people, key_field=key))

    marked = take_back(database.destination(table, **options), people.select([key]), removal_of(people, key_field=key))
    nulls = database.rows(table, columns="moment, keys")
    deleted = take_back(database.destination(table), people.select([key]), removal_of(people, key_field=key))

    assert rejected(marked) == rejected(deleted) == {}
    assert nulls == [(None, None), (None, None)]
    assert database.rows(table) == []


def test_names_that_a_statement_could_take_for_its_own_are_columns(database: Database) -> None:
    people = pa.table({"keys": [1, 2], "value0": ["x", "y"]})
    options = {"on_remove": "mark", "mark_column": "moment"}
    deliver(database.destination(**options), people, load_of(people, key_field="keys"))

    take_back(database.destination(**options), people.select(["keys"]), removal_of(people, key_field="keys"))

    assert database.rows(columns="keys, value0, moment IS NULL") == [(1, "x", False), (2, "y", False)]


def referring(database: Database) -> None:
    database.execute("CREATE TABLE orders (nr INTEGER PRIMARY KEY, person BIGINT REFERENCES people (id))")
    database.execute("INSERT INTO orders VALUES (1, 2)")


def test_a_row_that_another_table_needs_is_rejected_and_the_others_go(pg: Database, duck: Database) -> None:
    for database in (pg, duck):
        deliver(database.destination(), PEOPLE)
        referring(database)

        outcomes = take_back(database.destination(), ids(1, 2, 3), removal_of())

        assert rejected(outcomes) == {1: "foreign_key"}
        assert [row[0] for row in database.rows()] == [2]


def test_a_trigger_that_keeps_a_row_rejects_its_removal(pg: Database) -> None:
    deliver(pg.destination(), PEOPLE)
    pg.execute(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF OLD.age = 41 THEN RAISE SQLSTATE '22P02'; END IF; RETURN OLD; END $$"
    )
    pg.execute("CREATE TRIGGER t BEFORE DELETE ON people FOR EACH ROW EXECUTE FUNCTION keep()")

    outcomes = take_back(pg.destination(), ids(1, 2, 3), removal_of())

    assert rejected(outcomes) == {1: "sqlstate_22P02"}
    assert [row[0] for row in pg.rows()] == [2]


def moment_of(value: object) -> datetime:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert isinstance(found, datetime)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def test_marks_the_time_of_the_removal_in_a_table_made_here(database: Database) -> None:
    deliver(database.destination(**MARK), PEOPLE)
    before = database.rows(columns="id, removed_at")

    outcomes = take_back(database.destination(**MARK), ids(2, 99), removal_of())

    assert rejected(outcomes) == {}
    assert before == [(1, None), (2, None), (3, None)]
    found = {row[0]: row[1] for row in database.rows(columns="id, removed_at")}
    assert abs(moment_of(found.pop(2)) - datetime.now(UTC)) < timedelta(minutes=1)
    assert found == {1: None, 3: None}
    assert database.rows(columns="id, email, age") == sorted(
        [tuple(row.values()) for row in PEOPLE.to_pylist()], key=str
    )


def test_a_second_removal_keeps_the_time_of_the_first(database: Database) -> None:
    deliver(database.destination(**MARK), PEOPLE)
    take_back(database.destination(**MARK), ids(2), removal_of())
    first = database.rows(columns="id, removed_at")

    take_back(database.destination(**MARK), ids(2), removal_of())

    assert database.rows(columns="id, removed_at") == first


@pytest.mark.parametrize("nulls", ["overwrite", "keep"])
def test_somebody_who_is_sent_again_is_unmarked(database: Database, nulls: str) -> None:
    deliver(database.destination(**MARK), PEOPLE)
    take_back(database.destination(**MARK), ids(2, 3), removal_of())

    deliver(database.destination(nulls=nulls, **MARK), PEOPLE.slice(1, 1))

    assert {row[0]: row[1] is None for row in database.rows(columns="id, removed_at")} == {1: True, 2: True, 3: False}


@pytest.mark.parametrize("kind", ["BOOLEAN", "BOOLEAN NOT NULL"])
def test_marks_with_a_boolean_where_the_column_is_one(database: Database, kind: str) -> None:
    database.execute(f"CREATE TABLE people (id BIGINT PRIMARY KEY, gone {kind})")
    people = PEOPLE.select(["id"])
    deliver(database.destination(**FLAG), people)

    take_back(database.destination(**FLAG), ids(2, 3), removal_of(people))
    marked = database.rows()
    deliver(database.destination(**FLAG), people.slice(1, 1))

    assert [(row[0], bool(row[1])) for row in marked] == [(1, False), (2, True), (3, True)]
    assert [(row[0], bool(row[1])) for row in database.rows()] == [(1, False), (2, False), (3, True)]


def test_marks_with_a_local_time_where_the_column_has_no_zone(pg: Database, duck: Database) -> None:
    for database in (pg, duck):
        database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, removed_at TIMESTAMP)")
        deliver(database.destination(**MARK), PEOPLE.select(["id"]))

        take_back(database.destination(**MARK), ids(1), removal_of(PEOPLE.select(["id"])))

        [moment] = [row[1] for row in database.rows() if row[1] is not None]
        assert abs(moment - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)


def test_empties_the_mapped_columns_of_a_marked_row_where_told_to(database: Database) -> None:
    database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT, age BIGINT, note TEXT, gone BOOLEAN)")
    deliver(database.destination(**FLAG), PEOPLE)
    database.execute("UPDATE people SET note = 'mine'")

    take_back(database.destination(mark_nulls=True, **FLAG), ids(1), removal_of())

    assert database.rows(columns="id, email, age, note") == [
        (1, None, None, "mine"),
        (2, None, 41, "mine"),
        (3, "c@example.org", None, "mine"),
    ]


def test_the_generic_statements_clear_and_set_marks_too(sqlite: Database) -> None:
    sqlite.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT, age BIGINT, gone BOOLEAN)")
    hook: Any = BaseHook.get_connection(sqlite.conn_id).get_hook()  # type: ignore[no-untyped-call]
    writer = CoreWriter(
        hook, table=TableName("people"), nulls="keep", create_table=False, mark=Mark("gone"), generic=True
    )
    writer.open(load_of(PEOPLE), key="id")
    [rows] = PEOPLE.to_batches()
    writer.stage(rows)
    writer.write([0, 1, 2])
    writer.stage_removal(rows["id"])
    writer.remove([0, 1])
    marked = sqlite.rows(columns="id, gone")

    writer.write([1])
    writer.close()

    assert marked == [(1, 1), (2, 1), (3, 0)]
    assert sqlite.rows(columns="id, gone") == [(1, 1), (2, 0), (3, 0)]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ("id BIGINT PRIMARY KEY", MARK, "there is no mark_column `removed_at`"),
        ("id BIGINT PRIMARY KEY, removed TIMESTAMP", MARK, "did you mean `removed`"),
        ("id BIGINT PRIMARY KEY, removed_at TEXT NOT NULL", MARK, "mark_column `removed_at`"),
        ("id BIGINT PRIMARY KEY, removed_at REAL", MARK, "no boolean or timestamp"),
        ("id BIGINT PRIMARY KEY, removed_at TIMESTAMP NOT NULL", MARK, "takes no NULL"),
        ("id BIGINT PRIMARY KEY", {"on_remove": "mark", "mark_column": "id"}, "is one of the fields"),
    ],
)
def test_refuses_a_table_that_cannot_hold_the_mark(
    database: Database, columns: str, options: dict[str, Any], message: str
) -> None:
    database.execute(f"CREATE TABLE people ({columns})")

    with pytest.raises(ConfigurationError, match=message):
        deliver(database.destination(**options), PEOPLE.select(["id"]))


def test_refuses_to_empty_columns_that_take_no_null(database: Database) -> None:
    database.execute(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT NOT NULL, age BIGINT, removed_at TIMESTAMP)"
    )

    with pytest.raises(ConfigurationError, match="mark_nulls: column `email` takes no NULL"):
        deliver(database.destination(mark_nulls=True, **MARK), PEOPLE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_remove": "hide"}, "on_remove must be `delete` or `mark`"),
        ({"on_remove": "mark"}, 'mark_column is for on_remove="mark", which needs it'),
        ({"mark_column": "gone"}, 'mark_column is for on_remove="mark"'),
        ({"mark_nulls": True}, 'mark_nulls is for on_remove="mark"'),
    ],
)
def test_refuses_removal_options_that_mean_nothing(sqlite: Database, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sqlite.destination(**options)


def test_a_column_that_is_gone_since_keeps_nobody_in(database: Database) -> None:
    deliver(database.destination(), PEOPLE)
    database.execute("ALTER TABLE people DROP COLUMN age")

    outcomes = take_back(database.destination(), ids(1, 2), removal_of())

    assert rejected(outcomes) == {}
    assert [row[0] for row in database.rows()] == [3]


def test_a_locked_table_is_worth_another_try(sqlite: Database, tmp_path: Path) -> None:
    deliver(sqlite.destination(), PEOPLE)
    with closing(sqlite3.connect(tmp_path / "crm.db")) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(DestinationUnavailableError, match="nothing of the batch was applied"):
            take_back(sqlite.destination(), ids(1), removal_of())

    assert len(sqlite.rows()) == 3


def test_a_removal_is_uncertain_when_every_commit_stays_without_an_answer(pg: Database) -> None:
    deliver(pg.destination(), PEOPLE)
    pg.execute(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
    )
    pg.execute(
        "CREATE CONSTRAINT TRIGGER t AFTER DELETE ON people DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION die()"
    )
    lease = Lease()

    outcomes = take_back(pg.destination(), ids(1, 2), removal_of(before_request=lease.check))

    assert outcomes.counts() == {Outcome(RowStatus.UNCERTAIN, "connection_lost"): 2}
    assert lease.asked == 5


def test_asks_for_the_lease_before_every_transaction(database: Database) -> None:
    lease = Lease()
    destination = database.destination()
    database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT, age BIGINT CHECK (age <> 41))")

    deliver(destination, PEOPLE, load_of(PEOPLE, before_request=lease.check))

    # All three; the first; the other two; each of them.
    assert lease.asked == 5


@pytest.mark.parametrize("transactions", [0, 1, 2])
def test_writes_nothing_more_once_the_lease_is_lost(database: Database, transactions: int) -> None:
    database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT, age BIGINT CHECK (age <> 41))")
    lease = Lease(lost_after=transactions)

    with pytest.raises(LeaseLostError):
        deliver(database.destination(), PEOPLE, load_of(PEOPLE, before_request=lease.check))

    assert len(database.rows()) == (1 if transactions == 2 else 0)


def test_removes_nobody_once_the_lease_is_lost(database: Database) -> None:
    deliver(database.destination(), PEOPLE)
    destination = database.destination(batch_rows=1)

    with pytest.raises(LeaseLostError):
        take_back(destination, ids(1, 2), removal_of(before_request=Lease(lost_after=1).check))

    assert [row[0] for row in database.rows()] == [2, 3]


def test_a_load_takes_people_out_and_sends_others(database: Database) -> None:
    deliver(database.destination(), PEOPLE.slice(0, 2))
    destination = database.destination()
    destination.open(load_of(PEOPLE))

    removed = destination.remove(next(batches_of(ids(1), batch_rows=10)))
    sent = destination.send(next(batches_of(PEOPLE.slice(2), batch_rows=10)))
    destination.commit()

    assert rejected(removed) == rejected(sent) == {}
    assert [row[0] for row in database.rows()] == [2, 3]


def test_says_where_rows_go_without_a_secret(sqlite: Database) -> None:
    destination = sqlite.destination("crm.people")

    assert destination.can_remove
    assert destination.target.startswith("table `crm.people` of sqlite:/")
    assert list(destination.former_targets) == ["table `crm.people` of connection `crm_sqlite`"]
