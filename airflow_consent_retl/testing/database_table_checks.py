"""Checks that the table writer of a database upserts, refuses bad rows alone, and removes people."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from airflow_consent_retl.contract.destination import Batch, Load, WriteMode
from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.databases.registry import database_of
from airflow_consent_retl.databases.tables.table_name import TableName
from airflow_consent_retl.destinations.sql_table.destination import SqlTableDestination
from airflow_consent_retl.destinations.sql_table.options import SqlTableOptions
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.testing.database_reading_checks import read_rows
from airflow_consent_retl.testing.database_stand_in import DatabaseStandIn
from airflow_consent_retl.testing.people import CANARY

_DECIDED_AT = datetime(2026, 11, 23, 17, 51, 7, 250_000, tzinfo=UTC)
_PEOPLE = pa.table({"id": [1, 2, 3], "text": [f"{CANARY} 1", None, f"{CANARY} 3"], "size": [10, 20, None]})
_CHANGES = pa.table({"id": [1, 2, 3, 4], "text": ["new", "new", None, "new"], "size": [None, 21, 31, 40]})
# No column that is made for 64 bits with a sign holds it.
_TOO_LARGE = 2**64 - 1
_MARK: dict[str, Any] = {"on_remove": "mark", "mark_column": "removed_at"}


class TableChecks:
    """Checks of the table writer, through the SQL table destination."""

    def test_rows_are_upserted_and_a_bad_row_is_refused_alone(
        self, database: DatabaseStandIn, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The table is made, and NULL overwrites. No outcome and no log line quotes a value."""
        changes = pa.table(
            {
                "id": [1, 4, 5, None],
                "text": [None, f"{CANARY} 4", f"{CANARY} 5", CANARY],
                "size": pa.array([11, _TOO_LARGE, None, 60], pa.uint64()),
            }
        )

        made = _sent(database, _PEOPLE)
        stored = _stored(database)
        changed = _sent(database, changes)

        assert _refused(made) == {}
        assert stored == [tuple(row.values()) for row in _PEOPLE.to_pylist()]
        codes = _refused(changed)
        assert codes.keys() == {1, 3}
        assert codes[3] == "not_null"
        assert re.fullmatch(r"[A-Za-z_]\w*", codes[1])
        assert CANARY not in caplog.text
        assert str(_TOO_LARGE) not in caplog.text + codes[1]
        assert _stored(database) == [(1, None, 11), *stored[1:], (5, f"{CANARY} 5", None)]

    def test_a_load_of_keys_alone_inserts_the_new_ones(self, database: DatabaseStandIn) -> None:
        """There is nothing to update, with either handling of NULL."""
        made = _sent(database, _PEOPLE.select(["id"]).slice(0, 2))
        kept = _sent(database, _PEOPLE.select(["id"]).slice(1, 2), nulls="keep")
        overwritten = _sent(database, pa.table({"id": [1, 4]}))

        assert [_refused(outcomes) for outcomes in (made, kept, overwritten)] == [{}, {}, {}]
        assert _table(database) == [{"id": number} for number in (1, 2, 3, 4)]

    def test_people_who_are_there_stay_as_they_are_where_rows_are_only_created(self, database: DatabaseStandIn) -> None:
        """Except for a field that consent withholds; a mark of a removal is cleared."""
        _sent(database, _PEOPLE, **_MARK)
        _removed(database, [2], **_MARK)

        created = _sent(database, _CHANGES, _described(write="create_only", cleared={"size"}), **_MARK)

        assert _refused(created) == {}
        assert _stored(database) == [(1, f"{CANARY} 1", None), (2, None, 20), (3, f"{CANARY} 3", None), (4, "new", 40)]
        assert set(_marks(database).values()) == {None}

    def test_no_person_is_added_where_rows_are_only_updated(self, database: DatabaseStandIn) -> None:
        """Those who are not there are rejected, in the same batch as the others."""
        _sent(database, _PEOPLE)

        updated = _sent(database, _CHANGES, _described(write="update_only"))
        keys = _sent(database, _CHANGES.select(["id"]), _described(write="update_only"))

        assert [_refused(outcomes) for outcomes in (updated, keys)] == [{3: "no_row"}] * 2
        assert {outcome.status for outcome in updated} == {RowStatus.ACCEPTED, RowStatus.REJECTED}
        assert _stored(database) == [(1, "new", None), (2, "new", 21), (3, None, 31)]

    def test_a_value_that_is_there_is_never_overwritten_where_only_empty_fields_are_filled(
        self, database: DatabaseStandIn
    ) -> None:
        """Except by the NULL of a field that consent withholds."""
        _sent(database, _PEOPLE)

        filled = [_sent(database, _CHANGES, _described(write="fill_empty", cleared={"text"})) for _ in range(2)]

        assert list(map(_refused, filled)) == [{}, {}]
        assert _stored(database) == [(1, f"{CANARY} 1", 10), (2, "new", 20), (3, None, 31), (4, "new", 40)]

    def test_people_are_deleted_by_key(self, database: DatabaseStandIn) -> None:
        """Those who are not there, or without a key, count as removed; so do those of a retry."""
        _sent(database, _PEOPLE)

        removals = [_removed(database, [1, 99, None, 3]) for _ in range(2)]

        assert list(map(_refused, removals)) == [{}, {}]
        assert _stored(database) == [(2, None, 20)]

    def test_fields_are_cleared_by_key(self, database: DatabaseStandIn) -> None:
        """Everything else stays. Those who are not there, or without a key, count as cleared, and so do retries."""
        _sent(database, _PEOPLE)
        before = {row[0]: row for row in _stored(database)}

        cleared = [_cleared(database, [1, 99, None, 3], ["text"]) for _ in range(2)]
        both = _cleared(database, [1], ["size", "text"])

        assert list(map(_refused, [*cleared, both])) == [{}, {}, {}]
        assert _stored(database) == [(1, None, None), before[2], (3, None, before[3][2])]
        assert _refused(_cleared(database, [1, 99], ["other"])) == {0: "no_column", 1: "no_column"}

    def test_people_are_marked_and_unmarked(self, database: DatabaseStandIn) -> None:
        """The time of the first removal counts. Where NULL keeps the values that are there, it keeps no mark."""
        changes = pa.table({"id": [1, 3, 4], "text": pa.array([None, CANARY, None]), "size": [11, None, None]})
        _sent(database, _PEOPLE, **_MARK)

        removals = [_removed(database, [2, 3, 99], **_MARK)]
        first = _marks(database)
        removals.append(_removed(database, [2], **_MARK))
        changed = _sent(database, changes, nulls="keep", **_MARK)

        assert [_refused(outcomes) for outcomes in (*removals, changed)] == [{}, {}, {}]
        assert first[1] is None
        assert abs(_time_of(first[2]) - datetime.now(UTC)) < timedelta(minutes=1)
        assert _marks(database) == {1: None, 2: first[2], 3: None, 4: None}
        assert _stored(database) == [(1, f"{CANARY} 1", 11), (2, None, 20), (3, CANARY, None), (4, None, None)]

    def test_a_key_that_takes_others_for_equal_is_refused_before_the_first_row(self, database: DatabaseStandIn) -> None:
        """One person's row would replace another's. A load that only removes is not stopped."""
        people = pa.table({"id": ["a", "b"], "text": [CANARY, None]})
        database.takes_keys_for_equal()

        with pytest.raises(ConfigurationError, match="`id`") as raised:
            _sent(database, people)

        assert "takes keys for equal" in str(raised.value)
        assert CANARY not in str(raised.value)
        assert _table(database) == []


class TableProofChecks:
    """Checks that nothing is believed but what the table shows, where the database may swallow a statement."""

    def test_a_removal_that_does_nothing_is_not_accepted(self, database: DatabaseStandIn) -> None:
        """Those who are not there anyway are."""
        _sent(database, _PEOPLE)
        stored = _stored(database)
        database.swallow()

        removals = [_removed(database, [1, 99, 3]) for _ in range(2)]

        assert list(map(_refused, removals)) == [{0: "not_removed", 2: "not_removed"}] * 2
        assert _stored(database) == stored

    def test_a_field_that_keeps_its_value_is_not_cleared(self, database: DatabaseStandIn) -> None:
        """Those who have no value in it are."""
        _sent(database, _PEOPLE)
        stored = _stored(database)
        empty = [number for number, text, _ in stored if text is None]
        database.swallow()

        outcomes = _cleared(database, [1, *empty, 99], ["text"])

        assert _refused(outcomes) == {0: "not_cleared"}
        assert _stored(database) == stored

    def test_a_mark_that_is_not_set_is_not_accepted(self, database: DatabaseStandIn) -> None:
        """A person who was marked before stays removed."""
        _sent(database, _PEOPLE, **_MARK)
        _removed(database, [3], **_MARK)
        database.swallow()

        outcomes = _removed(database, [1, 99, 3], **_MARK)

        assert _refused(outcomes) == {0: "not_removed"}

    def test_rows_that_are_swallowed_are_not_accepted(self, database: DatabaseStandIn) -> None:
        """They are rejected, or uncertain where the statement was committed."""
        _sent(database, _PEOPLE.slice(0, 1))
        stored = _stored(database)
        database.swallow()

        outcomes = _sent(database, _PEOPLE.slice(1))

        assert {outcome.status for outcome in outcomes} <= {RowStatus.REJECTED, RowStatus.UNCERTAIN}
        assert set(_refused(outcomes).values()) <= {"not_stored", "not_visible"}
        assert len(_refused(outcomes)) == 2
        assert _stored(database) == stored


def _cleared(database: DatabaseStandIn, keys: list[int | None], fields: list[str]) -> Outcomes:
    with _Opened(database, _load(_PEOPLE.schema, rows=0), {}) as destination:
        return destination.clear(_batch(pa.table({"id": pa.array(keys, pa.int64())})), fields)


def _sent(
    database: DatabaseStandIn, rows: pa.Table, described: Callable[[Load], Load] = lambda load: load, **options: Any
) -> Outcomes:
    with _Opened(database, described(_load(rows.schema, rows=rows.num_rows)), options) as destination:
        return destination.send(_batch(rows))


def _described(*, write: WriteMode, cleared: Collection[str] = ()) -> Callable[[Load], Load]:
    return lambda load: replace(load, write=write, cleared=frozenset(cleared))


def _removed(database: DatabaseStandIn, ids: list[int | None], **options: Any) -> Outcomes:
    with _Opened(database, _load(_PEOPLE.schema, rows=0), options) as destination:
        return destination.remove(_batch(pa.table({"id": pa.array(ids, pa.int64())})))


class _Opened:
    """A destination in a load, committed at the end."""

    def __init__(self, database: DatabaseStandIn, load: Load, options: dict[str, Any]) -> None:
        self._destination = SqlTableDestination(
            sql_hook(database.conn_id), SqlTableOptions(table=database.table, **options)
        )
        self._load = load

    def __enter__(self) -> SqlTableDestination:
        try:
            self._destination.open(self._load)
        except BaseException:
            self._destination.abort()
            raise
        return self._destination

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._destination.commit()
        else:
            self._destination.abort()


def _load(schema: pa.Schema, *, rows: int) -> Load:
    return Load(
        key=hashlib.sha256(b"load").hexdigest(),
        destination="table",
        model="people",
        schema=schema,
        key_field="id",
        rows=rows,
        decided_at=_DECIDED_AT,
        before_request=lambda: None,
    )


def _batch(rows: pa.Table) -> Batch:
    (batch,) = rows.combine_chunks().to_batches()
    return Batch(key=hashlib.sha256(b"batch").hexdigest(), rows=batch)


def _refused(outcomes: Outcomes) -> dict[int, str]:
    return {row: outcomes[row].code for row in range(len(outcomes)) if outcomes[row].status != "accepted"}


def _stored(database: DatabaseStandIn) -> list[tuple[Any, ...]]:
    return [(row["id"], row["text"], row["size"]) for row in _table(database)]


def _marks(database: DatabaseStandIn) -> dict[int, Any]:
    return {row["id"]: row["removed_at"] for row in _table(database)}


def _table(database: DatabaseStandIn) -> list[dict[str, Any]]:
    name = TableName.parse(database.table)
    dialect = database_of(sql_hook(database.conn_id).conn_type).quotes_as
    table = exp.table_(name.name, db=name.schema, quoted=True).sql(dialect=dialect)
    rows: list[dict[str, Any]] = read_rows(database, f"SELECT * FROM {table}", key="id").to_pylist()  # noqa: S608
    return sorted(rows, key=lambda row: int(row["id"]))


def _time_of(mark: Any) -> datetime:
    # Text where the database has no type for it.
    found = mark if isinstance(mark, datetime) else datetime.fromisoformat(mark)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
