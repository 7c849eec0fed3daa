"""The names of Snowflake's tables in lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_consent_retl.databases.table_names import TableNames

if TYPE_CHECKING:
    from airflow.sdk import Connection


def names(hook: Any, connection: Connection) -> TableNames:
    """Return the names of the tables. The hook may fetch a token to tell them; this contacts nothing."""
    from airflow.providers.snowflake.utils.openlineage import fix_account_name

    def stated(name: str) -> str:
        extra = connection.extra_dejson
        own = getattr(hook, name, None)
        return str(own or extra.get(name) or extra.get(f"extra__snowflake__{name}") or "")

    account = ".".join(filter(None, (stated("account"), stated("region"))))
    schema = stated("schema") or connection.schema
    return TableNames(f"snowflake://{fix_account_name(account)}", stated("database") or None, schema or None, True)
