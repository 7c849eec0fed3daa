"""Who changed a Variable or a connection, by Airflow's own audit records.

They are in Airflow's database, which tasks cannot read: a command on a machine with the database can.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_EVENTS = {"variable": "%variable%", "connection": "%connection%"}
# Parts of the names of events that change nothing.
_READING = ("get", "list", "export", "test")


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record: who did what, and when."""

    at: datetime
    event: str
    user: str


def changes_of(place: str) -> list[AuditRecord] | None:
    """Return the records about a policy's place, the oldest first; None: Airflow's database cannot be read here.

    Args:
        place: `variable:<key>` or `connection:<conn_id>`; other places have no records.
    """
    from airflow.utils.session import create_session
    from sqlalchemy.exc import SQLAlchemyError

    scheme, _, name = place.partition(":")
    if scheme not in _EVENTS:
        return []
    try:
        with create_session() as session:
            return list(_records(session, scheme, name))
    except (SQLAlchemyError, RuntimeError):
        return None


def _records(session: Session, scheme: str, name: str) -> Iterator[AuditRecord]:
    import sqlalchemy as sa
    from airflow.models.log import Log

    query = sa.select(Log.dttm, Log.event, Log.owner, Log.extra).where(Log.event.like(_EVENTS[scheme]))
    for at, event, owner, extra in session.execute(query.order_by(Log.dttm).execution_options(yield_per=1000)):
        changes = not any(word in event for word in _READING)
        if at is not None and changes and _names(extra, name):
            yield AuditRecord(at, event, owner or "unknown")


def _names(extra: str | None, name: str) -> bool:
    """Return whether a record's details contain the name as a value of their own."""
    try:
        return name in set(_values(json.loads(extra or "null")))
    except ValueError:
        return False


def _values(details: Any) -> Iterator[str]:
    if isinstance(details, dict):
        for value in details.values():
            yield from _values(value)
    elif isinstance(details, list):
        for value in details:
            yield from _values(value)
    elif isinstance(details, str):
        yield details
        # The command line's own record has its arguments as the text of a list, in Python's spelling.
        with suppress(ValueError, SyntaxError):
            found = ast.literal_eval(details) if details.startswith("[") else None
            yield from (part for part in found or () if isinstance(part, str))
