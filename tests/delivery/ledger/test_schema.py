"""How a ledger comes to be, and why it cannot be opened: rights, other releases, files that are none."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.ledgers import SYNC, begun, intended, opened, sqlite_url, workers
from support.postgres import Postgres

from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.schema import SCHEMA_VERSION, metadata
from airflow_consent_retl.errors import ConfigurationError, LedgerUnavailableError


def raw_engine(url: str) -> sa.Engine:
    return sa.create_engine(url)


@pytest.mark.diagonal("new_ledger_url")
def test_processes_that_open_a_new_ledger_together_make_it_once(new_ledger_url: Callable[[], str]) -> None:
    with workers(new_ledger_url(), 3) as started:
        for _ in range(8):
            url = new_ledger_url()
            for worker in started:
                worker.ask("first_use", url=url)

            assert [worker.answer() for worker in started] == [["here"]] * 3


def test_a_ledger_is_found_again_as_it_was(ledger_url: str) -> None:
    with opened(ledger_url) as ledger, ledger.acquire(SYNC, holder="first") as lease:
        delivery = begun(lease)
        lease.record(delivery, intended=[intended(0)])

    with opened(ledger_url) as ledger, ledger.acquire(SYNC, holder="second") as lease:
        assert lease.open_delivery() == delivery
        assert len(lease.attempts(delivery)) == 1


def test_a_ledger_of_a_later_version_is_refused(ledger_url: str) -> None:
    opened(ledger_url).close()
    engine = raw_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE consent_retl_schema SET version = 99"))
    engine.dispose()

    with pytest.raises(ConfigurationError, match=f"schema has version 99, .* knows {SCHEMA_VERSION}"):
        opened(ledger_url)


def test_a_ledger_of_the_first_version_gets_what_it_lacks_and_keeps_what_it_has(ledger_url: str) -> None:
    with opened(ledger_url) as ledger, ledger.acquire(SYNC, holder="first") as lease:
        delivery = begun(lease)
    engine = raw_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE consent_retl_sources"))
        connection.execute(sa.text("DROP TABLE consent_retl_identity"))
        connection.execute(sa.text("DROP TABLE consent_retl_workspaces"))
        connection.execute(sa.text("ALTER TABLE consent_retl_syncs DROP COLUMN workspace"))
        connection.execute(sa.text("ALTER TABLE consent_retl_syncs DROP COLUMN lease_s"))
        connection.execute(sa.text("UPDATE consent_retl_schema SET version = 1"))
    engine.dispose()

    with opened(ledger_url) as ledger, ledger.acquire(SYNC, holder="second") as lease:
        assert lease.open_delivery() == delivery
        assert lease.newest().source is None
        lease.keep_in("a workspace")
    with opened(ledger_url) as ledger, ledger.identity() as first:
        assert first.sync(SYNC).workspace == "a workspace"
        id_ = first.id
    with opened(ledger_url) as ledger, ledger.identity() as again:
        assert again.id == id_


def test_every_table_carries_the_prefix(ledger: Ledger, ledger_url: str) -> None:
    engine = raw_engine(ledger_url)

    tables = {name for name in sa.inspect(engine).get_table_names() if not name.startswith("sqlite_")}
    engine.dispose()

    assert ledger.syncs() == []
    assert tables == set(metadata.tables)
    assert all(name.startswith("consent_retl_") for name in tables)


def test_a_dropped_table_is_a_matter_of_configuration(ledger: Ledger, ledger_url: str) -> None:
    engine = raw_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE consent_retl_syncs"))
    engine.dispose()

    with pytest.raises(ConfigurationError, match="a statement was refused"):
        ledger.syncs()


def test_outcomes_that_were_overwritten_are_refused(ledger: Ledger, ledger_url: str) -> None:
    with ledger.acquire(SYNC, holder="a") as lease:
        delivery = begun(lease)
        lease.record(delivery, intended=[intended(0)])
    engine = raw_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE consent_retl_batches SET outcomes = 'all went well'"))
    engine.dispose()

    with pytest.raises(ConfigurationError, match=f"batches of delivery {delivery.id} cannot be read"):
        ledger.attempts(delivery)


def test_the_file_and_its_folder_are_the_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "a b" / "100%#?.db"

    with opened(sqlite_url(file)) as ledger, ledger.acquire(SYNC, holder="a") as lease:
        begun(lease)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}

    assert modes == {"100%#?.db": 0o600, "100%#?.db-wal": 0o600, "100%#?.db-shm": 0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_each_connection_to_a_file_syncs_every_commit(tmp_path: Path) -> None:
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase

    database = LedgerDatabase.sqlite(tmp_path / "ledger.db", busy_s=1)

    with database.read() as first, database.read() as second:
        found = [
            (c.exec_driver_sql("PRAGMA journal_mode").scalar(), c.exec_driver_sql("PRAGMA synchronous").scalar())
            for c in (first, second)
        ]
    database.close()

    assert found == [("wal", 2), ("wal", 2)]


def test_each_write_to_postgres_waits_for_the_disk_whatever_the_server_does_by_default(postgres: Postgres) -> None:
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase

    options = "options=-csynchronous_commit%3Doff"
    url = f"postgresql+psycopg://postgres@/postgres?host={postgres.socket_folder}&{options}"
    database = LedgerDatabase.from_engine(sa.create_engine(url, isolation_level="SERIALIZABLE"))

    with database.write() as connection:
        found = [
            connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("synchronous_commit", "transaction_isolation")
        ]
    database.close()

    assert found == ["on", "read committed"]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_text("not a database, but long enough to look like one" * 100)

    with pytest.raises(ConfigurationError, match="is not a SQLite database"):
        opened(sqlite_url(file))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()

    with pytest.raises(ConfigurationError, match=r"taken/ledger\.db` cannot be created: "):
        opened(sqlite_url(tmp_path / "taken" / "ledger.db"))


def test_a_database_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="a SQLite file, not sqlite"):
        Ledger.from_engine(sa.create_engine("sqlite://"))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_server_that_does_not_answer_is_worth_another_try(tmp_path: Path, driver: str) -> None:
    with pytest.raises(LedgerUnavailableError, match="the ledger in database `crm` does not answer"):
        opened(f"postgresql+{driver}://postgres:secret@/crm?host={tmp_path}")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("login", ["nobody@/postgres", "postgres@/no_such_database"])
def test_a_refused_login_is_a_matter_of_configuration(postgres: Postgres, driver: str, login: str) -> None:
    with pytest.raises(ConfigurationError, match="the login was refused, or the database does not exist"):
        opened(f"postgresql+{driver}://{login}?host={postgres.socket_folder}")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_missing_right_is_a_matter_of_configuration(postgres: Postgres, driver: str) -> None:
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")

    with pytest.raises(ConfigurationError, match=r"no permission \(SQLSTATE 42501\)"):
        opened(f"postgresql+{driver}://reader@/postgres?host={postgres.socket_folder}&options=-csearch_path%3Dpublic")


def test_a_connection_that_the_server_ended_is_worth_another_try(postgres: Postgres) -> None:
    url = f"postgresql+psycopg://postgres@/postgres?host={postgres.socket_folder}&application_name=cut"
    with opened(url) as ledger:
        with postgres.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'")

        with pytest.raises(LedgerUnavailableError, match="does not answer"):
            ledger.syncs()

        assert isinstance(ledger.syncs(), list)


def test_psycopg2_serves_as_well(postgres: Postgres) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS older_driver")
    options = "options=-csearch_path%3Dolder_driver"
    url = f"postgresql+psycopg2://postgres@/postgres?host={postgres.socket_folder}&{options}"

    with opened(url) as ledger, ledger.acquire(SYNC, holder="a") as lease:
        delivery = begun(lease)
        lease.record(delivery, intended=[intended(0), intended(1)])

        assert len(lease.attempts(delivery)) == 2
