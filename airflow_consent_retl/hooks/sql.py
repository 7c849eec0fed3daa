"""The SQL hook of an Airflow connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.compat import AirflowException
from airflow_consent_retl.databases.registry import database_of
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.lookups import connection_named
from airflow_consent_retl.masking import mask_extra

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Connection

    from airflow_consent_retl.extraction.reading import HookOf
    from airflow_consent_retl.storage.manifest import ModelSource


def sql_hook(conn_id: str, hook_params: Mapping[str, Any] | None = None) -> DbApiHook:
    """Return the hook of a connection.

    Args:
        conn_id: the connection.
        hook_params: arguments of the hook itself, which take precedence over the connection's extra.

    Raises:
        ConfigurationError: there is no such connection, no installed provider serves it, or it is no SQL connection.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    connection = connection_named(conn_id)
    mask_extra(connection)
    try:
        hook = _hook(connection, dict(hook_params or {}))
    except (AirflowException, ImportError):
        extra = database_of(connection.conn_type).extra
        remedy = f"`pip install 'airflow-consent-retl[{extra}]'`" if extra else "install its provider"
        raise ConfigurationError(
            f"connection `{conn_id}` is of type `{connection.conn_type}`, whose hook is not installed: {remedy}"
        ) from None
    if not isinstance(hook, DbApiHook):
        raise ConfigurationError(
            f"connection `{conn_id}` is of type `{connection.conn_type}`, which is no SQL connection: "
            f"{type(hook).__name__} is not a DbApiHook"
        )
    _override_extra(hook, connection, hook_params or {})
    return hook


def _override_extra(hook: DbApiHook, connection: Connection, hook_params: Mapping[str, Any]) -> None:
    """Let the parameters win over the connection's extra, which some hooks apply last."""
    extra = connection.extra_dejson
    both = extra.keys() & hook_params.keys()
    if both:
        overridden = copy(connection)
        overridden.extra = json.dumps({**extra, **{name: hook_params[name] for name in both}})
        # Hooks read their connection when they first need it.
        setattr(hook, "get_connection", lambda conn_id: overridden)  # noqa: B010 - mypy refuses to assign a method


def _hook(connection: Connection, parameters: dict[str, Any]) -> object:
    database = database_of(connection.conn_type)
    if own := database.hooks.get(connection.conn_type or ""):
        hook: object = database.load(own)(connection.conn_id, parameters)
        return hook
    return connection.get_hook(hook_params=parameters)  # type: ignore[no-untyped-call]


def hooks_of(source: ModelSource) -> HookOf:
    """Return a function that finds hooks: the model's own for None and for its own connection, or another one."""

    @cache
    def own() -> DbApiHook:
        return sql_hook(source.conn_id, source.hook_params)

    return lambda other: own() if other is None or other == source.conn_id else sql_hook(other)
