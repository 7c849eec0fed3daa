"""The SQL hook of an Airflow connection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

try:
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
except ImportError:  # Airflow 3.1 keeps them elsewhere
    from airflow.exceptions import AirflowException, AirflowNotFoundException  # type: ignore[attr-defined]

from airflow_consent_retl.databases.registry import database_of
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Connection

    from airflow_consent_retl.extraction.consent_files import HookOf


def sql_hook(conn_id: str, hook_params: Mapping[str, Any] | None = None) -> DbApiHook:
    """Return the hook of a connection.

    Args:
        conn_id: the connection.
        hook_params: arguments of the hook itself, which take precedence over the connection's extra.

    Raises:
        ConfigurationError: there is no such connection, no installed provider serves it, or it is no SQL connection.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConfigurationError(f"there is no connection `{conn_id}`") from None
    try:
        hook = _hook(connection, dict(hook_params or {}))
    except (AirflowException, ImportError):
        extra = database_of(connection.conn_type).extra
        remedy = f"pip install 'airflow-consent-retl[{extra}]'" if extra else "install its provider"
        raise ConfigurationError(
            f"connection `{conn_id}` is of type `{connection.conn_type}`, whose hook is not installed: {remedy}"
        ) from None
    if not isinstance(hook, DbApiHook):
        raise ConfigurationError(
            f"connection `{conn_id}` is of type `{connection.conn_type}`, which is no SQL connection: "
            f"{type(hook).__name__} is not a DbApiHook"
        )
    return hook


def _hook(connection: Connection, parameters: dict[str, Any]) -> object:
    database = database_of(connection.conn_type)
    if own := database.hooks.get(connection.conn_type or ""):
        hook: object = database.load(own)(connection.conn_id, parameters)
        return hook
    return connection.get_hook(hook_params=parameters)  # type: ignore[no-untyped-call]


def hooks_of(conn_id: str, hook_params: Mapping[str, Any] | None = None) -> HookOf:
    """Return a function that finds the hooks of a model: the model's own for None and its own connection, or another.

    Args:
        conn_id: of the model.
        hook_params: arguments of the model's own hook.
    """

    @cache
    def own() -> DbApiHook:
        return sql_hook(conn_id, hook_params)

    return lambda other: own() if other is None or other == conn_id else sql_hook(other)
