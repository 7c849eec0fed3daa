"""The source of a model's rows, built from an operator's parameters: the one object that every reader uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ExternalConsent, IdentityLinks
    from airflow_consent_retl.storage.manifest import ModelSource


def with_identities(
    sources: Sequence[ExternalConsent], identities: IdentityLinks | None
) -> tuple[ExternalConsent, ...]:
    """Return all sources of a DAG: the link table of identities is read like them.

    Raises:
        ConfigurationError: `identities` is something else.
    """
    from airflow_consent_retl.consent import IdentityLinks
    from airflow_consent_retl.errors import ConfigurationError

    if identities is None:
        return tuple(sources)
    if not isinstance(identities, IdentityLinks):
        raise ConfigurationError("identities: expected IdentityLinks")
    return (*sources, identities)


def model_source(
    *,
    conn_id: str,
    sql: str,
    current_consent_sql: str | None = None,
    sql_is_dated: bool = False,
    consent_sources_are_dated: bool = False,
    hook_params: Mapping[str, Any] | None,
    session_time_zone: str | None,
    column_types: Mapping[str, str] | None,
    consent_sources: Sequence[ExternalConsent],
) -> ModelSource:
    """Return the source that the manifest stores. Connects to nothing.

    Raises:
        ConfigurationError: there is no such connection, or a parameter is wrong.
        PolicyError: the consent sources are wrong.
    """
    from airflow_consent_retl.consent import check_sources, source_document
    from airflow_consent_retl.databases.registry import database_of
    from airflow_consent_retl.databases.session_settings import checked_hook_params, checked_time_zone
    from airflow_consent_retl.hooks.sql import sql_hook
    from airflow_consent_retl.storage.manifest import ModelSource

    params = checked_hook_params(hook_params)
    database = database_of(sql_hook(conn_id, params).conn_type)
    return ModelSource(
        conn_id=conn_id,
        sql=sql,
        current_consent_sql=current_consent_sql or "",
        sql_is_dated=sql_is_dated,
        consent_sources_are_dated=consent_sources_are_dated,
        hook_params=params,
        session_time_zone=checked_time_zone(database, session_time_zone, conn_id=conn_id),
        column_types=dict(column_types or {}),
        consent_sources=tuple(map(source_document, check_sources(consent_sources))),
    )
