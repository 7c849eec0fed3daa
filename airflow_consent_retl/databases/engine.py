"""The SQLAlchemy engine of an Airflow hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy as sa
    from airflow.providers.common.sql.hooks.sql import DbApiHook


def sqlalchemy_engine(hook: DbApiHook) -> sa.Engine:
    """Return an engine that tells no parameters and notices a restarted server.

    Raises:
        ArgumentError, NoSuchModuleError, ImportError: SQLAlchemy has no driver for the connection.
    """
    options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
    # PostgresHook leaves the connection's extras, `sslmode` among them, out of the engine's URL.
    if hook.conn_type == "postgres":
        ignored: set[str] = getattr(hook, "ignored_extra_options", set())
        extras = {name: value for name, value in hook.connection_extra.items() if name not in ignored}
        options["connect_args"] = extras
    engine: sa.Engine = hook.get_sqlalchemy_engine(engine_kwargs=options)
    return engine
