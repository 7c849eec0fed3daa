"""Arguments for PostgreSQL's driver in an SQLAlchemy engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


def driver_arguments(hook: DbApiHook) -> dict[str, Any]:
    """Return the extras of a connection, such as `sslmode`: `PostgresHook` leaves them out of the engine's URL."""
    ignored: set[str] = getattr(hook, "ignored_extra_options", set())
    return {name: value for name, value in hook.connection_extra.items() if name not in ignored}
