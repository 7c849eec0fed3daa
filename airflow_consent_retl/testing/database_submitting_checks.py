"""Checks of queries that run while no worker waits; where a database declares none, checks that they are refused."""

from __future__ import annotations

import time

import pytest

from airflow_consent_retl.databases.source import ModelQuery, source_of
from airflow_consent_retl.databases.submitted import SubmittedQueries, can_submit, submitted_queries
from airflow_consent_retl.errors import ConfigurationError, SourceUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.testing.database_stand_in import DatabaseStandIn

_POLL_INTERVAL_S = 0.05
_SOON_S = 60


class SubmittingChecks:
    """Checks of submitted queries."""

    def test_a_submitted_query_is_read_by_another_session(self, database: DatabaseStandIn) -> None:
        """The id means the same to each session."""
        if _is_refused(database):
            return
        query = ModelQuery(conn_id=database.conn_id, sql=database.ids, primary_key=database.key)
        with _queries(database) as queries:
            query_id = queries.submit(source_of(sql_hook(database.conn_id), query).statement)
        with _queries(database) as queries:
            _wait(queries, query_id)

        later = ModelQuery(conn_id=database.conn_id, sql="SELECT never", primary_key=database.key, query_id=query_id)
        with source_of(sql_hook(database.conn_id), later).reading() as rows:
            ids = [row for batch in rows.batches for row in batch.column(database.key).to_pylist()]

        assert sorted(ids) == [1, 2, 3]

    def test_a_submitted_query_runs_until_it_is_cancelled(self, database: DatabaseStandIn) -> None:
        """Cancelling it again is no error."""
        if _is_refused(database):
            return
        with _queries(database) as queries:
            query_id = queries.submit(database.endless)
            assert queries.is_running(query_id)

            queries.cancel(query_id)

            with pytest.raises(SourceUnavailableError, match="cancelled from outside"):
                _wait(queries, query_id)
            queries.cancel(query_id)


def _is_refused(database: DatabaseStandIn) -> bool:
    """Check the declaration; where it says that there are none, check the refusal."""
    hook = sql_hook(database.conn_id)
    assert can_submit(hook) == database.abilities.submits
    if database.abilities.submits:
        return False
    with pytest.raises(ConfigurationError, match="support deferrable=True; remove it"):
        submitted_queries(hook, conn_id=database.conn_id)
    return True


def _queries(database: DatabaseStandIn) -> SubmittedQueries:
    return submitted_queries(sql_hook(database.conn_id), conn_id=database.conn_id)


def _wait(queries: SubmittedQueries, query_id: str) -> None:
    deadline = time.monotonic() + _SOON_S
    while queries.is_running(query_id):
        assert time.monotonic() < deadline
        time.sleep(_POLL_INTERVAL_S)
