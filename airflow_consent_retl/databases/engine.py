"""The SQLAlchemy engine of an Airflow hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_consent_retl.databases.registry import database_of

if TYPE_CHECKING:
    import sqlalchemy as sa
    from airflow.providers.common.sql.hooks.sql import DbApiHook


def sqlalchemy_engine(hook: DbApiHook) -> sa.Engine:
    """Return an engine that shows no parameters in its errors, and that tests a connection before it uses it.

    Raises:
        ArgumentError, NoSuchModuleError, ImportError: SQLAlchemy has no driver for the connection.
    """
    options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
    database = database_of(hook.conn_type)
    if database.engine:
        options["connect_args"] = database.load(database.engine)(hook)
    engine: sa.Engine = hook.get_sqlalchemy_engine(engine_kwargs=options)
    return engine
