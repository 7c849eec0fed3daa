"""The columns of a model and its consent sources, from queries without a row."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.databases.source import ModelQuery
    from airflow_consent_retl.storage.manifest import ModelSource

_log = logging.getLogger(__name__)


def read_columns(query: ModelQuery, source: ModelSource, sources: Sequence[ExternalConsent]) -> pa.Schema:
    """Return the columns that an extraction would have, with those of its sources. No row is read.

    A database that declares no types, such as SQLite, gives columns of the type `null`.

    Args:
        query: the model's.
        source: where it runs.
        sources: the sources that apply to the model.

    Raises:
        ConfigurationError, ModelError: the query, a source or a column cannot make a model.
        SourceUnavailableError: a database does not answer.
    """
    from airflow_consent_retl.databases.plain_query import without_rows
    from airflow_consent_retl.databases.registry import database_of
    from airflow_consent_retl.databases.source import source_of
    from airflow_consent_retl.extraction.reading import reading_with_consent
    from airflow_consent_retl.hooks.sql import hooks_of

    hook_of = hooks_of(source)

    def empty(sql: str, conn_id: str | None) -> str:
        return without_rows(sql, dialect=database_of(hook_of(conn_id).conn_type).quotes_as)

    def emptied(one: ExternalConsent) -> ExternalConsent:
        # A query without rows has none that match, and none that must be there.
        accepting: dict[str, Any] = {"require_match": False, "min_rows": 0}
        known = {field.name for field in fields(one)}
        accepted = {name: value for name, value in accepting.items() if name in known}
        return replace(one, sql=empty(one.sql, one.conn_id), **accepted)

    reader = source_of(hook_of(None), replace(query, sql=empty(query.sql, None)))
    with reading_with_consent(
        reader.reading,
        [emptied(one) for one in sources],
        hook_of=hook_of,
        conn_id=query.conn_id,
        time_zone=query.time_zone,
        at=datetime.now(UTC),
        log=_log.debug,
        warn=_log.debug,
    ) as rows:
        return rows.schema
