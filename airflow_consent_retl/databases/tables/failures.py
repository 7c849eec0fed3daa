"""The meaning of a driver's error: one row is refused, another try may help, the connection broke, or no row can pass.

A driver's message quotes rows, so no message is shown, kept or chained. Codes and classes say what happened. Of a
message, only the name of a column that the table is known to have is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from airflow_consent_retl.databases.tables.writer import BusyError, ConnectionLostError, RowRefusedError, TableTarget
from airflow_consent_retl.errors import DestinationError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.dialects import TableDialect

# https://www.postgresql.org/docs/18/errcodes-appendix.html, read 2026-11-23; the classes are the SQL standard's.
_ROW_STATES = {
    "22001": "too_long",
    "22003": "value_out_of_range",
    # Text with NUL. As a parameter, psycopg refuses it.
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


def failure_of(
    error: Exception,
    *,
    dialect: TableDialect,
    in_commit: bool,
    table: str = "",
    target: TableTarget | None = None,
) -> Exception:
    """Return the error to raise for an error of the driver. The caller raises it outside its `except`.

    Args:
        error: of the driver, or of SQLAlchemy.
        dialect: of the database.
        in_commit: whether the transaction was being committed.
        table: that was written to.
        target: its columns and constraints, if they are known.
    """
    if not isinstance(error, sa.exc.DBAPIError):
        return RowRefusedError("value_out_of_range" if isinstance(error, OverflowError) else "data_error")
    if error.connection_invalidated:
        return ConnectionLostError(in_commit=in_commit)
    known = TableTarget({}) if target is None else target
    declared = None if error.orig is None else dialect.failure(error.orig)
    if error.orig is not None and isinstance(declared, RowRefusedError):
        return RowRefusedError(declared.code, dialect.refused_column(error.orig, table, known))
    if declared is not None:
        return declared
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if isinstance(state, str) and state != "HY000":
        return _of_state(state, column=_column_of(error.orig, table, known), in_commit=in_commit)
    return _of_class(error, in_commit=in_commit)


def refusal(meaning: str | None, code: str) -> DestinationError:
    """Return the error for a statement that the database refuses, whatever its rows.

    Args:
        meaning: of the code, if it is known.
        code: of the driver.
    """
    return DestinationError(f"{meaning or 'the statement was refused'} ({code})")


def _column_of(error: object, table: str, target: TableTarget) -> str:
    """Return the column whose value was refused; empty where the driver names none, or another table's."""
    # Of psycopg: the names of the column, if it was NULL, and of the constraint.
    diagnosis = getattr(error, "diag", None)
    if diagnosis is None or diagnosis.table_name != table:
        # A trigger may write to other tables.
        return ""
    return str(diagnosis.column_name or target.constrained.get(diagnosis.constraint_name or "", ""))


def _of_state(state: str, *, column: str, in_commit: bool) -> Exception:
    if state.startswith(_LOST_CLASSES):
        return ConnectionLostError(in_commit=in_commit)
    if state.startswith(_ROW_CLASSES):
        return RowRefusedError(_ROW_STATES.get(state, f"sqlstate_{state}"), column)
    if state.startswith(_BUSY_CLASSES) or state in _BUSY_STATES:
        return BusyError(f"sqlstate_{state}")
    return refusal(_STATE_MEANINGS.get(state), f"SQLSTATE {state}")


def _of_class(error: sa.exc.DBAPIError, *, in_commit: bool) -> Exception:
    if isinstance(error, sa.exc.IntegrityError):
        return RowRefusedError("constraint")
    if isinstance(error, sa.exc.DataError):
        return RowRefusedError("data_error")
    if isinstance(error, sa.exc.InterfaceError):
        return ConnectionLostError(in_commit=in_commit)
    if isinstance(error, sa.exc.OperationalError):
        return BusyError(type(error.orig).__name__)
    return refusal(None, type(error.orig).__name__)
