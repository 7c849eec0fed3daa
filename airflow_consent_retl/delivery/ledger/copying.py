"""Copies of a ledger: a dry run works on one, with leases and writes as always, and the ledger stays as it is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from airflow_consent_retl.delivery.ledger.handle import Ledger
from airflow_consent_retl.delivery.ledger.schema import install, metadata
from airflow_consent_retl.errors import LedgerUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase

_BUSY_S: Final = 10.0


def copy_of_file(file: Path, copy: Path) -> Ledger:
    """Copy the ledger in a SQLite file, if there is one, into a new file, and open the copy.

    Raises:
        LedgerUnavailableError: the file cannot be read now.
    """
    if file.exists():
        failure = ""
        try:
            # `mode=rw` makes no file. In SQLite, only a connection that may write can read next to one that writes.
            source = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_S)
            with closing(source), closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            failure = type(error).__name__
        if failure:
            raise LedgerUnavailableError(f"the ledger `{file}` cannot be copied ({failure})")
    return Ledger.sqlite(copy)


def copy_of_database(database: LedgerDatabase, copy: Path) -> Ledger:
    """Copy the ledger in PostgreSQL, as it is at one time, into a new SQLite file, and open the copy.

    Raises:
        LedgerUnavailableError, ConfigurationError: it cannot be read.
    """
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(copy)), hide_parameters=True)
    try:
        with database.read() as source, engine.begin() as target:
            install(target)
            present = sa.inspect(source)
            for table in metadata.sorted_tables:
                if not present.has_table(table.name):
                    continue
                target.execute(table.delete())
                # A ledger of an earlier release lacks columns, which may be NULL.
                names = {column["name"] for column in present.get_columns(table.name)}
                columns = [column for column in table.columns if column.name in names]
                rows = [dict(row._mapping) for row in source.execute(sa.select(*columns))]
                if rows:
                    target.execute(table.insert(), rows)
    finally:
        engine.dispose()
    return Ledger.sqlite(copy)
