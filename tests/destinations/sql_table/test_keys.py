"""Keys and roles with which a load could not tell people apart or check itself: refused before the first row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from support.loading import deliver, load_of, rejected, take_back

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.databases import Database
    from support.postgres import Postgres

PEOPLE = pa.table({"id": ["a", "b"], "email": ["a@example.org", "b@example.org"]})
NUMBERED = pa.table({"id": pa.array([1, 2], pa.int32()), "email": ["a@example.org", "b@example.org"]})
RULES = "ALTER TABLE people ENABLE ROW LEVEL SECURITY; CREATE POLICY w ON people FOR INSERT WITH CHECK (true)"


@pytest.mark.parametrize(
    ("kind", "differs"),
    [
        ("TEXT COLLATE NOCASE", "upper and lower case"),
        ("TEXT COLLATE RTRIM", "spaces at the end"),
        ("VARCHAR(20) COLLATE NOCASE", "upper and lower case"),
    ],
)
def test_a_collation_of_sqlite_that_takes_keys_for_equal_is_refused(sqlite: Database, kind: str, differs: str) -> None:
    sqlite.execute(f"CREATE TABLE people (id {kind} PRIMARY KEY, email TEXT)")

    with pytest.raises(ConfigurationError, match=f"key column `id` .* takes keys for equal that differ in {differs}: "):
        deliver(sqlite.destination(), PEOPLE)

    assert sqlite.rows() == []


@pytest.mark.parametrize(
    ("collation", "differs"),
    [
        ("NOCASE", "upper and lower case"),
        ("NFC", "composed and decomposed letters"),
        ("NOACCENT", "composed and decomposed letters, accents"),
        ("NOCASE.NOACCENT", "upper and lower case, composed and decomposed letters, accents"),
    ],
)
def test_a_collation_of_duckdb_that_takes_keys_for_equal_is_refused(
    duck: Database, collation: str, differs: str
) -> None:
    duck.execute(f"CREATE TABLE people (id VARCHAR COLLATE {collation} PRIMARY KEY, email VARCHAR)")

    with pytest.raises(ConfigurationError, match=f"differ in {differs}: one person would replace another"):
        deliver(duck.destination(), PEOPLE)

    assert duck.rows() == []


@pytest.mark.parametrize("kind", ["char(5)", "char(36)", "padded"])
def test_a_padded_type_of_postgresql_is_refused(pg: Database, kind: str) -> None:
    pg.execute(f"CREATE DOMAIN padded AS char(36); CREATE TABLE people (id {kind} PRIMARY KEY, email text)")

    with pytest.raises(
        ConfigurationError, match=r"differ in spaces at the end: .* text with a deterministic collation"
    ):
        deliver(pg.destination(), PEOPLE)

    assert pg.rows() == []


@pytest.mark.parametrize("kind", ["text", 'varchar(9) COLLATE "C"', "word"])
def test_a_type_of_postgresql_that_tells_all_texts_apart_is_taken(pg: Database, kind: str) -> None:
    pg.execute(f"CREATE DOMAIN word AS text; CREATE TABLE people (id {kind} PRIMARY KEY, email text)")
    people = pa.table({"id": ["a", "A", "a ", "\u00e9", "e\u0301"], "email": list("12345")})

    outcomes = deliver(pg.destination(), people)
    removed = take_back(pg.destination(), people.select(["id"]).slice(0, 1), load_of(people, rows_sent=0))

    assert rejected(outcomes) == rejected(removed) == {}
    assert pg.rows(columns="email") == [("2",), ("3",), ("4",), ("5",)]


def test_a_column_that_takes_keys_for_equal_holds_up_no_removal(sqlite: Database) -> None:
    sqlite.execute("CREATE TABLE people (id TEXT COLLATE NOCASE PRIMARY KEY, email TEXT)")
    sqlite.execute("INSERT INTO people VALUES ('a', NULL), ('b', NULL)")

    outcomes = take_back(sqlite.destination(), pa.table({"id": ["a"]}), load_of(PEOPLE, rows_sent=0))

    assert rejected(outcomes) == {}
    assert sqlite.rows() == [("b", None)]


@pytest.mark.parametrize(
    "definition",
    [
        "id int PRIMARY KEY DEFERRABLE",
        "id int UNIQUE DEFERRABLE INITIALLY DEFERRED",
        "id int, CONSTRAINT one UNIQUE (id) DEFERRABLE INITIALLY IMMEDIATE",
        # PostgreSQL refuses the upsert also where another key of the same column is not deferrable.
        "id int UNIQUE, CONSTRAINT one PRIMARY KEY (id) DEFERRABLE",
    ],
)
def test_a_deferrable_key_is_refused_by_name(pg: Database, definition: str) -> None:
    pg.execute(f"CREATE TABLE people (email text, {definition})")

    with pytest.raises(ConfigurationError, match=r"`id` is unique by a DEFERRABLE constraint.*add it NOT DEFERRABLE"):
        deliver(pg.destination(), NUMBERED)


@pytest.mark.parametrize(
    "definition",
    ["GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "GENERATED ALWAYS AS (length(email)) STORED PRIMARY KEY"],
)
def test_a_key_that_the_database_generates_is_refused_with_advice_that_helps(pg: Database, definition: str) -> None:
    pg.execute(f"CREATE TABLE people (email text, id int {definition})")

    with pytest.raises(ConfigurationError, match="the key, and the database generates it: make it") as raised:
        deliver(pg.destination(), NUMBERED)

    assert "leave it out" not in str(raised.value)


def test_a_key_that_the_database_generates_holds_up_no_removal(pg: Database) -> None:
    pg.execute("CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY DEFERRABLE, email text)")
    pg.execute("INSERT INTO people (email) VALUES ('a'), ('b')")

    outcomes = take_back(pg.destination(), NUMBERED.select(["id"]).slice(0, 1), load_of(NUMBERED, rows_sent=0))

    assert rejected(outcomes) == {}
    assert pg.rows() == [(2, "b")]


def test_a_key_that_the_database_generates_by_default_takes_the_model_s(pg: Database) -> None:
    pg.execute("CREATE TABLE people (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, email text)")

    assert rejected(deliver(pg.destination(), NUMBERED)) == {}


@pytest.fixture
def crm(pg: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """PostgreSQL with a table of another owner, and a role `loader` without rights on it."""
    pg.execute("DROP ROLE IF EXISTS loader; CREATE ROLE loader LOGIN; GRANT USAGE ON SCHEMA public TO loader")
    pg.execute("CREATE TABLE people (id text PRIMARY KEY, email text, gone boolean)")
    connection = json.loads(postgres.airflow_connection(database="crm")) | {"login": "loader"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", json.dumps(connection))
    yield pg
    pg.execute("DROP OWNED BY loader; DROP ROLE loader")


@pytest.mark.parametrize("rights", ["INSERT, DELETE", "INSERT, UPDATE, DELETE", "INSERT, DELETE, SELECT (email)"])
def test_a_role_that_may_not_read_what_it_writes_is_refused(crm: Database, rights: str) -> None:
    crm.execute(f"GRANT {rights} ON people TO loader")

    with pytest.raises(ConfigurationError, match=r"`crm_postgres` may not read table `people`.*GRANT SELECT"):
        deliver(crm.destination(), PEOPLE)
    with pytest.raises(ConfigurationError, match="GRANT SELECT"):
        take_back(crm.destination(), PEOPLE.select(["id"]), load_of(PEOPLE, rows_sent=0))


def test_a_role_that_may_not_read_the_mark_is_refused(crm: Database) -> None:
    crm.execute("GRANT INSERT, UPDATE, SELECT (id, email) ON people TO loader")

    with pytest.raises(ConfigurationError, match="GRANT SELECT"):
        deliver(crm.destination(on_remove="mark", mark_column="gone"), PEOPLE)


@pytest.mark.parametrize(
    "policies",
    [
        "CREATE POLICY r ON people FOR SELECT USING (email IS NOT NULL)",
        "CREATE POLICY r ON people FOR ALL USING (id <> 'b')",
        "CREATE POLICY r ON people USING (true); CREATE POLICY x ON people AS RESTRICTIVE USING (id <> 'b')",
        "CREATE POLICY r ON people FOR SELECT TO postgres USING (true)",
        "CREATE POLICY r ON people FOR UPDATE USING (true)",
    ],
)
def test_a_role_that_sees_only_some_rows_is_refused(crm: Database, policies: str) -> None:
    crm.execute(f"GRANT ALL ON people TO loader; {RULES}; {policies}")

    with pytest.raises(ConfigurationError, match="row-level security shows connection `crm_postgres` only some rows"):
        deliver(crm.destination(), PEOPLE)
    with pytest.raises(ConfigurationError, match="only some rows"):
        take_back(crm.destination(), PEOPLE.select(["id"]), load_of(PEOPLE, rows_sent=0))


@pytest.mark.parametrize(
    "policies",
    [
        "CREATE POLICY r ON people USING (true)",
        "CREATE POLICY r ON people USING (true); CREATE POLICY x ON people AS RESTRICTIVE FOR SELECT USING (true)",
        "CREATE POLICY r ON people TO loader USING (true); CREATE POLICY o ON people USING (id <> 'b')",
        "CREATE POLICY r ON people FOR SELECT USING (true); CREATE POLICY u ON people FOR UPDATE USING (true)",
    ],
)
def test_a_role_that_sees_all_rows_under_row_level_security_loads(crm: Database, policies: str) -> None:
    crm.execute(f"GRANT ALL ON people TO loader; {RULES}; {policies}")

    outcomes = [deliver(crm.destination(), PEOPLE) for _ in range(2)]
    removed = take_back(crm.destination(), PEOPLE.select(["id"]).slice(0, 1), load_of(PEOPLE, rows_sent=0))

    assert list(map(rejected, outcomes)) == [{}, {}]
    # Without a policy for DELETE the database deletes nothing, and reports success.
    assert rejected(removed) == ({0: "not_removed"} if "FOR UPDATE" in policies else {})
