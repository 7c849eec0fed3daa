"""What becomes of a load when its database fails under way; no message ever quotes a row."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from airflow.sdk import BaseHook
from support.databases import Database
from support.loading import batches_of, deliver, load_of, rejected

from airflow_consent_retl.contract.outcomes import Outcome, RowStatus
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from support.postgres import Postgres

CANARY = "canary-5f1c@example.org"
PEOPLE = pa.table({"id": [1, 2, 3], "email": ["a@example.org", None, CANARY], "age": [40, 41, None]})


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


def test_rights_that_are_missing_stop_the_load(
    pg: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(pg.destination(), PEOPLE)
    pg.execute("DROP ROLE IF EXISTS reader")
    pg.execute("CREATE ROLE reader LOGIN")
    pg.execute("GRANT USAGE ON SCHEMA public TO reader")
    pg.execute("GRANT SELECT ON people TO reader")
    connection = json.loads(postgres.airflow_connection(database="crm")) | {"login": "reader"}
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
    connection = json.loads(postgres.airflow_connection(database="crm"))
    connection["extra"] = {"options": "-c search_path=crm", "cursor": "dictcursor"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", json.dumps(connection))

    deliver(pg.destination(), PEOPLE)

    assert len(pg.rows("crm.people")) == 3


def test_a_locked_sqlite_file_is_worth_another_try(sqlite: Database, tmp_path: Path) -> None:
    destination = sqlite.destination()
    destination.open(load_of(PEOPLE))
    with closing(sqlite3.connect(tmp_path / "crm.db")) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(DestinationUnavailableError, match="nothing of the batch was applied"):
            destination.send(next(batches_of(PEOPLE, batch_rows=10)))

    destination.abort()
    assert sqlite.rows() == []


def test_a_duckdb_file_that_another_process_holds_is_worth_another_try(unopened_duck: Database, tmp_path: Path) -> None:
    holding = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holding, str(tmp_path / "crm.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()

        with pytest.raises(DestinationUnavailableError, match="another process has it"):
            deliver(unopened_duck.destination(), PEOPLE)

        other.communicate()
    deliver(unopened_duck.destination(), PEOPLE)


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

    pg.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
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

    assert outcomes.counts() == {Outcome(RowStatus.UNCERTAIN, "connection_lost"): 3}


def test_a_constraint_checked_in_commit_rejects_its_rows(pg: Database) -> None:
    pg.execute(
        "CREATE TABLE people "
        "(id BIGINT PRIMARY KEY, email TEXT, age BIGINT, UNIQUE (age) DEFERRABLE INITIALLY DEFERRED)"
    )
    rows = pa.table({"id": [1, 2, 3], "email": ["a", "b", "c"], "age": [5, 6, 5]})

    outcomes = deliver(pg.destination(), rows)

    assert rejected(outcomes) == {2: "unique"}


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


def test_a_file_that_is_no_database_is_refused(sqlite: Database, unopened_duck: Database, tmp_path: Path) -> None:
    for database, file in ((sqlite, "crm.db"), (unopened_duck, "crm.duckdb")):
        (tmp_path / file).write_bytes(CANARY.encode() * 1000)

        with pytest.raises((ConfigurationError, DestinationError, DestinationUnavailableError)) as raised:
            deliver(database.destination(), PEOPLE)

        assert CANARY not in _everything(raised.value)
