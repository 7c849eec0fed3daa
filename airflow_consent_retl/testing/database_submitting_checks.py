"""Checks of extractions that wait for their query without a worker, and of the refusal where a database has none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_consent_retl.compat import TaskDeferred
from airflow_consent_retl.databases.staging import warehouse
from airflow_consent_retl.databases.submitted import can_submit, submitted_queries
from airflow_consent_retl.errors import ConfigurationError, SourceUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.operators import ExtractModelOperator
from airflow_consent_retl.storage import open_snapshot
from airflow_consent_retl.testing.database_stand_in import DatabaseStandIn
from airflow_consent_retl.testing.people import CANARY
from airflow_consent_retl.triggers.submitted_query import SubmittedQueryTrigger

if TYPE_CHECKING:
    import pyarrow as pa

_POLL_INTERVAL_S = 0.05


class SubmittingChecks:
    """Checks of a database that runs queries while no worker waits, with a workspace of files."""

    def test_a_deferred_extraction_reads_the_result_of_its_query(
        self, database: DatabaseStandIn, tmp_path: Path
    ) -> None:
        """Task, trigger and resumed task each have a session of their own: the query's id means the same to each."""
        snapshot = open_snapshot(_resumed(database, workspace=tmp_path.as_uri()))

        rows = snapshot.folder.read_rows(snapshot.manifest.parts, batch_rows=100)
        assert _ids_of(rows, database) == [1, 2, 3]

    def test_a_query_that_takes_too_long_is_cancelled(self, database: DatabaseStandIn, tmp_path: Path) -> None:
        """The task may be retried. Cancelling the query again is no error."""
        operator = _extraction(database, database.endless, workspace=tmp_path.as_uri(), query_timeout_s=0)
        trigger = _trigger_of(operator)
        with submitted_queries(sql_hook(database.conn_id), conn_id=database.conn_id) as queries:
            assert queries.is_running(trigger.query_id)

            event = _event_of(trigger)

            with pytest.raises(SourceUnavailableError, match="cancelled from outside"):
                queries.is_running(trigger.query_id)
            queries.cancel(trigger.query_id)
        assert event["over"] is False
        with pytest.raises(SourceUnavailableError, match="did not end within 0 s"):
            operator.resume({}, event)

    def test_a_query_that_fails_without_a_worker_fails_the_task(
        self, database: DatabaseStandIn, tmp_path: Path
    ) -> None:
        """With an error that names the reason and contains no value of a row."""
        _check_failure(database, workspace=tmp_path.as_uri())


class SubmittingStagingChecks:
    """The same checks with a warehouse workspace, where the query makes a table."""

    @pytest.fixture
    def warehouse_uri(self, database: DatabaseStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        """Return a warehouse workspace whose documents lie in a temporary folder."""
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
        return f"warehouse:{database.schema}"

    def test_a_deferred_extraction_into_the_warehouse_finds_its_table(
        self, database: DatabaseStandIn, warehouse_uri: str
    ) -> None:
        """The resumed task reads no row."""
        (table,) = open_snapshot(_resumed(database, workspace=warehouse_uri)).manifest.staging_tables

        with warehouse(sql_hook(database.conn_id), database.schema, conn_id=database.conn_id) as staging:
            sql = f"SELECT * FROM {staging.name_of(table)}"  # noqa: S608 - the name is quoted
            with staging.read(sql) as rows:
                assert _ids_of(rows.batches, database) == [1, 2, 3]

    def test_a_query_that_fails_without_a_worker_fails_the_task_of_a_warehouse(
        self, database: DatabaseStandIn, warehouse_uri: str
    ) -> None:
        """With an error that names the reason and contains no value of a row."""
        _check_failure(database, workspace=warehouse_uri)


class SubmittingRefusalChecks:
    """Checks of a database that runs no query without a worker."""

    def test_a_query_without_a_worker_is_refused(self, database: DatabaseStandIn) -> None:
        """The error names the parameter."""
        hook = sql_hook(database.conn_id)

        assert not can_submit(hook)
        with pytest.raises(ConfigurationError, match="support deferrable=True; remove it"):
            submitted_queries(hook, conn_id=database.conn_id)

    def test_a_deferrable_extraction_runs_in_the_worker(self, database: DatabaseStandIn, tmp_path: Path) -> None:
        """A default of the whole Airflow may say `deferrable`."""
        extracted = _extraction(database, database.ids, workspace=tmp_path.as_uri()).execute({})

        assert extracted["rows"] == 3


def _resumed(database: DatabaseStandIn, *, workspace: str) -> object:
    event = _event_of(_trigger_of(_extraction(database, f"{database.ids} -- all", workspace=workspace)))
    assert event["over"] is True

    resumed = _extraction(database, f"{database.ids} -- all", workspace=workspace).resume({}, event)

    assert resumed["rows"] == 3
    return resumed


def _ids_of(rows: Iterable[pa.RecordBatch], database: DatabaseStandIn) -> list[int]:
    return sorted(row for batch in rows for row in batch.column(database.key).to_pylist())


def _check_failure(database: DatabaseStandIn, *, workspace: str) -> None:
    on_a_row = _extraction(database, database.quoting, workspace=workspace)
    before_rows = _extraction(database, "SELECT * FROM no_such_table", workspace=workspace)

    with pytest.raises(Exception, match="the query failed") as failure:
        on_a_row.resume({}, _event_of(_trigger_of(on_a_row)))
    # Some servers refuse it at once, others when it runs.
    # A database whose messages may quote rows says its number for "no such object".
    with pytest.raises(Exception, match=r"(?i)no_such_table|002003"):
        before_rows.resume({}, _event_of(_trigger_of(before_rows)))

    assert CANARY not in repr(failure.value)


def _extraction(database: DatabaseStandIn, sql: str, *, workspace: str, **options: Any) -> ExtractModelOperator:
    return ExtractModelOperator(
        task_id="extract",
        model="numbers",
        conn_id=database.conn_id,
        sql=sql,
        primary_key=database.key,
        workspace=workspace,
        deferrable=True,
        poll_interval_s=_POLL_INTERVAL_S,
        **options,
    )


def _trigger_of(operator: ExtractModelOperator) -> SubmittedQueryTrigger:
    """Return the trigger as a triggerer makes it: from what is stored of it."""
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute({})
    assert deferral.value.method_name == "resume"
    _, stored = deferral.value.trigger.serialize()
    return SubmittedQueryTrigger(**stored)


def _event_of(trigger: SubmittedQueryTrigger) -> dict[str, Any]:
    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            payload: dict[str, Any] = event.payload
            return payload
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())
