"""Statements that a database takes without an error and does not carry out: what counts is what the table shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from airflow.sdk import BaseHook
from support.loading import deliver, load_of, rejected, take_back
from support.log_lines import unwrapped

from airflow_consent_retl.databases.tables.core import CoreWriter
from airflow_consent_retl.databases.tables.table_name import TableName
from airflow_consent_retl.databases.tables.writer import UnprovenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.databases import Database
    from support.postgres import Postgres

PEOPLE = pa.table({"id": ["a", "b", "c"], "email": ["a@example.org", "b@example.org", "c@example.org"]})
UUID = "0190163d-8694-739b-aea5-966c26f8ad91"
TABLE = "CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT)"
MARKED = "CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT, gone BOOLEAN)"
FLAG = {"on_remove": "mark", "mark_column": "gone"}


def trigger(database: Database, body: str, *, on: str, when: str = "true") -> None:
    """Make a trigger in PostgreSQL."""
    database.execute(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
    database.execute(f"CREATE TRIGGER t {on} ON people FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION f()")


def leaving(*ids: str) -> pa.Table:
    return pa.table({"id": list(ids)})


def without_rows(rows: pa.Table = PEOPLE) -> Any:
    return load_of(rows, rows_sent=0)


@pytest.fixture(params=["copy", "copy-psycopg2", "rows", "rows-psycopg2"])
def crm(
    request: pytest.FixtureRequest, pg: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """PostgreSQL by each way in which rows get there: in bulk or row by row, with each driver."""
    from airflow.providers.postgres.hooks import postgres as hook

    monkeypatch.setattr(hook, "USE_PSYCOPG3", "psycopg2" not in request.param)
    if request.param.startswith("copy"):
        yield pg
        return
    pg.execute("DROP ROLE IF EXISTS loader; CREATE ROLE loader LOGIN; REVOKE TEMPORARY ON DATABASE crm FROM PUBLIC")
    pg.execute("GRANT ALL ON SCHEMA public TO loader; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO loader")
    connection = json.loads(postgres.airflow_connection(database="crm")) | {"login": "loader"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", json.dumps(connection))
    yield pg
    pg.execute("DROP OWNED BY loader; DROP ROLE loader; GRANT TEMPORARY ON DATABASE crm TO PUBLIC")


@pytest.mark.parametrize(
    "keeps",
    [
        "CREATE TRIGGER t BEFORE DELETE ON people FOR EACH ROW WHEN (OLD.id = 'b') EXECUTE FUNCTION keep()",
        "CREATE RULE r AS ON DELETE TO people WHERE OLD.id = 'b' DO INSTEAD NOTHING",
        "CREATE TRIGGER t AFTER DELETE ON people FOR EACH ROW WHEN (OLD.id = 'b') EXECUTE FUNCTION put_back()",
    ],
    ids=["trigger", "rule", "put back"],
)
def test_a_person_whose_deletion_is_swallowed_is_not_removed(pg: Database, keeps: str) -> None:
    pg.execute(TABLE)
    pg.execute("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    pg.execute(
        "CREATE FUNCTION put_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO people VALUES (OLD.*); RETURN NULL; END $$"
    )
    deliver(pg.destination(), PEOPLE)
    pg.execute(keeps)

    outcomes = take_back(pg.destination(), leaving("a", "b", "x"), without_rows())

    assert rejected(outcomes) == {1: "not_removed"}
    assert [row[0] for row in pg.rows()] == ["b", "c"]


def test_sqlite_s_ignored_deletion_is_not_removed(sqlite: Database) -> None:
    sqlite.execute(TABLE)
    deliver(sqlite.destination(), PEOPLE)
    sqlite.execute("CREATE TRIGGER t BEFORE DELETE ON people WHEN OLD.id <> 'c' BEGIN SELECT RAISE(IGNORE); END")

    outcomes = take_back(sqlite.destination(), leaving("a", "b", "c"), without_rows())

    assert rejected(outcomes) == {0: "not_removed", 1: "not_removed"}
    assert [row[0] for row in sqlite.rows()] == ["a", "b"]


def test_what_a_trigger_does_in_place_of_a_deletion_stays(pg: Database) -> None:
    pg.execute("CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT, hidden BOOLEAN DEFAULT false)")
    deliver(pg.destination(), PEOPLE)
    trigger(pg, "UPDATE people SET hidden = true WHERE id = OLD.id; RETURN NULL;", on="BEFORE DELETE")

    outcomes = take_back(pg.destination(), leaving("a", "b"), without_rows())

    assert rejected(outcomes) == {0: "not_removed", 1: "not_removed"}
    assert pg.rows(columns="id, hidden") == [("a", True), ("b", True), ("c", False)]


@pytest.mark.parametrize(
    ("body", "on"),
    [
        ("RETURN NULL;", "BEFORE UPDATE"),
        ("NEW.gone = false; RETURN NEW;", "BEFORE UPDATE"),
        ("UPDATE people SET gone = NULL WHERE id = NEW.id; RETURN NULL;", "AFTER UPDATE"),
    ],
)
def test_a_person_whose_mark_is_swallowed_is_not_removed(pg: Database, body: str, on: str) -> None:
    pg.execute(MARKED)
    deliver(pg.destination(**FLAG), PEOPLE)
    trigger(pg, body, on=on, when="OLD.id = 'b' AND pg_trigger_depth() = 0")

    outcomes = take_back(pg.destination(**FLAG), leaving("a", "b"), without_rows())

    assert rejected(outcomes) == {1: "not_removed"}


def test_sqlite_s_ignored_mark_is_not_removed(sqlite: Database) -> None:
    sqlite.execute(MARKED)
    deliver(sqlite.destination(**FLAG), PEOPLE)
    sqlite.execute("CREATE TRIGGER t BEFORE UPDATE ON people WHEN OLD.id = 'b' BEGIN SELECT RAISE(IGNORE); END")

    outcomes = take_back(sqlite.destination(**FLAG), leaving("a", "b"), without_rows())

    assert rejected(outcomes) == {1: "not_removed"}


def test_a_marked_row_that_keeps_its_values_is_not_removed_where_they_have_to_go(pg: Database) -> None:
    pg.execute(MARKED)
    deliver(pg.destination(mark_nulls=True, **FLAG), PEOPLE)
    trigger(pg, "NEW.email = OLD.email; RETURN NEW;", on="BEFORE UPDATE", when="OLD.id = 'b'")

    outcomes = take_back(pg.destination(mark_nulls=True, **FLAG), leaving("a", "b"), without_rows())

    assert rejected(outcomes) == {1: "not_removed"}
    assert pg.rows(columns="id, email, gone") == [
        ("a", None, True),
        ("b", "b@example.org", True),
        ("c", "c@example.org", False),
    ]


@pytest.mark.parametrize(
    ("body", "on", "code"),
    [
        ("RETURN NULL;", "BEFORE INSERT", "not_stored"),
        ("DELETE FROM people WHERE id = NEW.id; RETURN NULL;", "AFTER INSERT", "not_stored"),
        ("NEW.id = 'z'; RETURN NEW;", "BEFORE INSERT", "not_stored"),
        ("UPDATE people SET id = 'z' WHERE id = NEW.id; RETURN NULL;", "AFTER INSERT", "not_stored"),
    ],
)
def test_a_row_that_a_trigger_swallows_or_files_elsewhere_is_refused_alone(
    crm: Database, body: str, on: str, code: str
) -> None:
    crm.execute(TABLE)
    trigger(crm, body, on=on, when="NEW.id = 'b'")

    outcomes = deliver(crm.destination(), PEOPLE)

    assert rejected(outcomes) == {1: code}
    assert [row[0] for row in crm.rows()] == ["a", "c"]


@pytest.mark.parametrize("names", [["id", "email"], ["id"]])
def test_sqlite_s_ignored_insert_is_refused_alone(sqlite: Database, names: list[str]) -> None:
    sqlite.execute(TABLE)
    sqlite.execute("CREATE TRIGGER t BEFORE INSERT ON people WHEN NEW.id = 'b' BEGIN SELECT RAISE(IGNORE); END")

    outcomes = deliver(sqlite.destination(), PEOPLE.select(names))

    assert rejected(outcomes) == {1: "not_stored"}
    assert [row[0] for row in sqlite.rows()] == ["a", "c"]


def test_an_update_that_a_trigger_swallows_is_refused_alone(crm: Database) -> None:
    crm.execute(TABLE)
    deliver(crm.destination(), PEOPLE)
    trigger(crm, "RETURN NULL;", on="BEFORE UPDATE", when="OLD.id = 'b'")
    changed = PEOPLE.set_column(1, "email", pa.array(["new a", "new b", "new c"]))

    outcomes = deliver(crm.destination(), changed)

    assert rejected(outcomes) == {1: "not_stored"}
    assert crm.rows() == [("a", "new a"), ("b", "b@example.org"), ("c", "new c")]


def test_sqlite_s_ignored_update_is_refused_alone(sqlite: Database) -> None:
    sqlite.execute(TABLE)
    deliver(sqlite.destination(), PEOPLE)
    sqlite.execute("CREATE TRIGGER t BEFORE UPDATE ON people WHEN OLD.id = 'b' BEGIN SELECT RAISE(IGNORE); END")
    changed = PEOPLE.set_column(1, "email", pa.array(["new a", "new b", "new c"]))

    outcomes = deliver(sqlite.destination(), changed)

    assert rejected(outcomes) == {1: "not_stored"}
    assert sqlite.rows() == [("a", "new a"), ("b", "b@example.org"), ("c", "new c")]


def test_a_mark_that_stays_on_somebody_who_is_sent_again_is_refused(crm: Database) -> None:
    crm.execute(MARKED)
    deliver(crm.destination(**FLAG), PEOPLE)
    take_back(crm.destination(**FLAG), leaving("b"), without_rows())
    trigger(crm, "RETURN NULL;", on="BEFORE UPDATE", when="OLD.id = 'b'")

    outcomes = deliver(crm.destination(**FLAG), PEOPLE)

    assert rejected(outcomes) == {1: "not_stored"}


@pytest.mark.parametrize("nulls", ["overwrite", "keep"])
def test_updates_that_are_left_out_because_they_change_nothing_are_no_fault(crm: Database, nulls: str) -> None:
    crm.execute("CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT, score NUMERIC, gone BOOLEAN)")
    crm.execute(
        "CREATE TRIGGER t BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    )
    people = PEOPLE.append_column("score", pa.array([None, 1.5, 2]).cast(pa.decimal128(9, 2)))
    deliver(crm.destination(nulls=nulls, **FLAG), people)

    outcomes = deliver(crm.destination(nulls=nulls, **FLAG), people)

    assert rejected(outcomes) == {}


def test_values_that_a_trigger_tidies_are_no_fault(crm: Database) -> None:
    crm.execute(TABLE)
    trigger(crm, "NEW.email = upper(NEW.email); RETURN NEW;", on="BEFORE INSERT OR UPDATE")

    outcomes = [deliver(crm.destination(), PEOPLE) for _ in range(2)]

    assert list(map(rejected, outcomes)) == [{}, {}]
    assert crm.rows()[0] == ("a", "A@EXAMPLE.ORG")


@pytest.mark.parametrize(
    ("kind", "sent", "refused"),
    [
        ("varchar(3)", ["ab    ", "ab", "abc"], {0}),
        ("uuid", [UUID, UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}"], {1, 2, 3}),
        ("inet", ["10.0.0.1", "10.0.0.2/32", "::1", "0::2"], {1, 3}),
        ("macaddr", ["08:00:2b:01:02:03", "08-00-2B-01-02-03"], {1}),
    ],
)
def test_a_key_that_the_column_stores_in_another_form_is_refused(
    crm: Database, kind: str, sent: list[str], refused: set[int]
) -> None:
    crm.execute(f"CREATE TABLE people (id {kind} PRIMARY KEY, nr bigint)")

    outcomes = deliver(crm.destination(), pa.table({"id": sent, "nr": range(len(sent))}))

    assert rejected(outcomes).keys() == refused
    # A key that was cut is not equal to the one that was sent.
    assert set(rejected(outcomes).values()) <= {"key_changed", "not_stored"}
    assert crm.rows(columns="nr") == [(place,) for place in range(len(sent)) if place not in refused]


def test_duckdb_s_other_spelling_of_a_key_is_refused(duck: Database) -> None:
    duck.execute("CREATE TABLE people (id UUID PRIMARY KEY, nr BIGINT)")

    outcomes = deliver(duck.destination(), pa.table({"id": [UUID.upper(), UUID, f"{{{UUID}}}"], "nr": [0, 1, 2]}))

    assert rejected(outcomes) == {0: "key_changed", 2: "key_changed"}
    assert duck.rows(columns="nr") == [(1,)]


def test_a_whole_batch_that_is_swallowed_is_refused_in_a_few_statements(pg: Database) -> None:
    pg.execute("CREATE TABLE people (id BIGINT PRIMARY KEY)")
    trigger(pg, "RETURN NULL;", on="BEFORE INSERT")
    asked: list[None] = []
    people = pa.table({"id": range(4_000)})

    outcomes = deliver(pg.destination(), people, load_of(people, before_request=lambda: asked.append(None)))

    assert outcomes.counts().keys() == {outcomes[0]}
    assert (outcomes[0].status, outcomes[0].code) == ("rejected", "not_stored")
    assert len(asked) == 1


def test_a_code_of_rows_that_were_not_kept_comes_with_its_remedy_once(
    pg: Database, caplog: pytest.LogCaptureFixture
) -> None:
    pg.execute("CREATE TABLE people (id uuid PRIMARY KEY)")
    trigger(pg, "RETURN NULL;", on="BEFORE DELETE")
    people = pa.table({"id": [UUID.upper(), UUID, UUID.replace("-", "")]})

    deliver(pg.destination(batch_rows=1), people)
    take_back(pg.destination(batch_rows=1), leaving(UUID, UUID), without_rows(people))

    warnings = [unwrapped(record.getMessage()) for record in caplog.records if record.levelname == "WARNING"]
    assert [text.partition(":")[0] for text in warnings] == [
        "table `people`, key_changed",
        "table `people`, not_removed",
    ]
    assert "cast the primary key in the model" in warnings[0]
    assert UUID not in caplog.text.lower()


@pytest.mark.parametrize("key", [[1, 2], [b"\x00", b"\xff"], [1.5, 2.5], [True, False]], ids=str)
def test_keys_that_are_no_text_are_read_back_too(database: Database, key: list[Any]) -> None:
    people = pa.table({"id": key, "email": ["a", "b"]})

    outcomes = [deliver(database.destination(), people) for _ in range(2)]
    removed = take_back(database.destination(), people.select(["id"]), without_rows(people))

    assert [rejected(one) for one in (*outcomes, removed)] == [{}, {}, {}]
    assert database.rows() == []


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
def test_the_generic_statements_find_a_swallowed_row_too(sqlite: Database, event: str) -> None:
    sqlite.execute(TABLE)
    if event == "UPDATE":
        deliver(sqlite.destination(), PEOPLE)
    sqlite.execute(f"CREATE TRIGGER t BEFORE {event} ON people WHEN NEW.id = 'b' BEGIN SELECT RAISE(IGNORE); END")
    hook: Any = BaseHook.get_connection(sqlite.conn_id).get_hook()  # type: ignore[no-untyped-call]
    writer = CoreWriter(hook, table=TableName("people"), nulls="overwrite", create_table=False, generic=True)
    changed = PEOPLE.set_column(1, "email", pa.array(["new a", "new b", "new c"]))
    writer.open(load_of(changed), key="id")
    writer.stage(changed.to_batches()[0])

    with pytest.raises(UnprovenError) as raised:
        writer.write([0, 1, 2])
    writer.close()

    assert (raised.value.codes, raised.value.applied) == ({1: "not_stored"}, "nothing")
    assert "new a" not in str(sqlite.rows())
