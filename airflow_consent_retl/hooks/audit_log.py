"""Who changed a Variable or a connection, by Airflow's own audit records.

They are in Airflow's database, which tasks cannot read: a command on a machine with the database can.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

_EVENTS = {"variable": "%variable%", "connection": "%connection%"}
# Parts of the names of events that change nothing.
_READING = ("get", "list", "export", "test")
_DAYS: Final = 90
_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record: who did what, and when."""

    at: datetime
    event: str
    user: str


class NoRecord(StrEnum):
    """The reason why there is no record of a change."""

    NOT_FOUND = f"no audit record in the {_DAYS} days before it, and no commit"
    UNREADABLE = "Airflow's database cannot be read here"


def last_change(place: str, *, after: datetime | None, until: datetime) -> AuditRecord | NoRecord:
    """Return the last record about a policy's place before a run saw the policy.

    The log can be large, so it is read backwards from the run, at most 90 days, once for each policy in a process.

    Args:
        place: `variable:<key>` or `connection:<conn_id>`; other places have no records.
        after: when a run first saw the policy before it; None: there was none.
        until: when a run first saw the policy.
    """
    from sqlalchemy.exc import SQLAlchemyError

    scheme, _, name = place.partition(":")
    if scheme not in _EVENTS:
        return NoRecord.NOT_FOUND
    earliest = until - timedelta(days=_DAYS)
    try:
        return _last_change(scheme, name, earliest if after is None else max(after, earliest), until)
    except (SQLAlchemyError, RuntimeError):
        return NoRecord.UNREADABLE


# What was logged before a run does not change any more.
@lru_cache(maxsize=1_000)
def _last_change(scheme: str, name: str, after: datetime, until: datetime) -> AuditRecord | NoRecord:
    import sqlalchemy as sa
    from airflow.models.log import Log
    from airflow.utils.session import create_session

    wanted = [Log.dttm > after, Log.dttm <= until]
    if name.isascii() and json.dumps(name) == f'"{name}"':
        # Such a name is written in a record as it is: the database leaves out the records without it.
        wanted.append(Log.extra.contains(name, autoescape=True))
    with create_session() as session:
        # The index of the names of events has all that this asks for, and the records of few names are read then.
        events = session.scalars(sa.select(Log.event).where(Log.event.like(_EVENTS[scheme])).distinct()).all()
        changing = [event for event in events if not any(word in event for word in _READING)]
        query = (
            sa.select(Log.dttm, Log.event, Log.owner, Log.extra)
            .where(Log.event.in_(changing), *wanted)
            .order_by(Log.dttm.desc(), Log.id.desc())
            .execution_options(yield_per=_BATCH)
        )
        for at, event, owner, extra in session.execute(query):
            if at is not None and _names(extra, name):
                return AuditRecord(at, event, owner or "unknown")
    return NoRecord.NOT_FOUND


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
