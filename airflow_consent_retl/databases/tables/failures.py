"""What a database's refusal means: this row, another try, a broken connection, or no row ever.

Reads codes and classes only. A driver's message quotes rows, so none is ever shown, kept or chained.
"""

from __future__ import annotations

import sqlalchemy as sa

from airflow_consent_retl.databases.tables.target import BusyError, ConnectionLostError, RowRefusedError
from airflow_consent_retl.errors import DestinationError

# https://www.postgresql.org/docs/18/errcodes-appendix.html, read 2026-11-23; the classes are the SQL standard's.
_ROW_STATES = {
    "22001": "too_long",
    "22003": "value_out_of_range",
    # Text with NUL, which psycopg refuses itself where it is a parameter.
    "22021": "data_error",
    "23502": "not_null",
    "23503": "foreign_key",
    "23505": "unique",
    "23514": "check",
    "23P01": "exclusion",
}
_ROW_CLASSES = ("22", "23", "44", "P0")
_BUSY_CLASSES = ("40", "53")
_BUSY_STATES = {"55P03", "57014"}
_LOST_CLASSES = ("08", "57P")
_STATE_MEANINGS = {
    "28000": "the login was refused",
    "28P01": "the password was refused",
    "3D000": "there is no such database",
    "25006": "the database is read-only",
    "42501": "no permission",
    "42P01": "the table does not exist any more",
    "42703": "a column does not exist any more",
}
# https://www.sqlite.org/rescode.html, read 2026-11-23
_ROW_SQLITE = {
    "SQLITE_CONSTRAINT_NOTNULL": "not_null",
    "SQLITE_CONSTRAINT_UNIQUE": "unique",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "unique",
    "SQLITE_CONSTRAINT_CHECK": "check",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "foreign_key",
    "SQLITE_CONSTRAINT_TRIGGER": "trigger",
    "SQLITE_CONSTRAINT_DATATYPE": "datatype",
    "SQLITE_MISMATCH": "datatype",
    "SQLITE_TOOBIG": "too_long",
}
_BUSY_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_PROTOCOL")
# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html, read 2026-11-23
_ROW_MYSQL = {
    1048: "not_null",
    1062: "unique",
    1264: "value_out_of_range",
    1292: "datatype",
    1366: "datatype",
    1406: "too_long",
    1452: "foreign_key",
    1644: "trigger",
    3140: "datatype",
    3819: "check",
    4025: "check",
}
_BUSY_MYSQL = {1040, 1203, 1205, 1213}


def failure_of(error: Exception, *, in_commit: bool) -> Exception:
    """Return what to raise for an error of the driver; the caller raises it outside its `except`."""
    if not isinstance(error, sa.exc.DBAPIError):
        return RowRefusedError("value_out_of_range" if isinstance(error, OverflowError) else "data_error")
    if error.connection_invalidated:
        return ConnectionLostError(in_commit=in_commit)
    driver = error.orig
    name = getattr(driver, "sqlite_errorname", None)
    number = driver.args[0] if driver is not None and driver.args else None
    state = getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)
    if isinstance(name, str):
        return _of_sqlite(name)
    if isinstance(number, int) and (number in _ROW_MYSQL or number in _BUSY_MYSQL):
        return RowRefusedError(_ROW_MYSQL[number]) if number in _ROW_MYSQL else BusyError(f"error_{number}")
    if isinstance(state, str) and state != "HY000":
        return _of_state(state, in_commit=in_commit)
    return _of_class(error, in_commit=in_commit)


def _of_state(state: str, *, in_commit: bool) -> Exception:
    if state.startswith(_LOST_CLASSES):
        return ConnectionLostError(in_commit=in_commit)
    if state.startswith(_ROW_CLASSES):
        return RowRefusedError(_ROW_STATES.get(state, f"sqlstate_{state}"))
    if state.startswith(_BUSY_CLASSES) or state in _BUSY_STATES:
        return BusyError(f"sqlstate_{state}")
    return _refusal(_STATE_MEANINGS.get(state), f"SQLSTATE {state}")


def _of_sqlite(name: str) -> Exception:
    if name in _ROW_SQLITE or name.startswith("SQLITE_CONSTRAINT"):
        return RowRefusedError(_ROW_SQLITE.get(name, "constraint"))
    if name.startswith(_BUSY_SQLITE):
        return BusyError(name.lower())
    meanings = {"SQLITE_READONLY": "the database is read-only", "SQLITE_CANTOPEN": "the file cannot be opened"}
    return _refusal(next((text for code, text in meanings.items() if name.startswith(code)), None), name)


def _of_class(error: sa.exc.DBAPIError, *, in_commit: bool) -> Exception:
    if isinstance(error, sa.exc.IntegrityError):
        return RowRefusedError("constraint")
    if isinstance(error, sa.exc.DataError):
        return RowRefusedError("data_error")
    if isinstance(error, sa.exc.InterfaceError):
        return ConnectionLostError(in_commit=in_commit)
    if isinstance(error, sa.exc.OperationalError):
        return BusyError(type(error.orig).__name__)
    return _refusal(None, type(error.orig).__name__)


def _refusal(meaning: str | None, code: str) -> DestinationError:
    return DestinationError(f"{meaning or 'the statement was refused'} ({code})")
