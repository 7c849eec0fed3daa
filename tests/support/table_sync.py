"""A whole sync into a table of a warehouse: extract, filter, load, as three tasks in one process."""

from __future__ import annotations

from typing import Any

from airflow_consent_retl.consent import ConsentObjectKey
from airflow_consent_retl.destinations.sql_table.operator import LoadToSqlTableOperator
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator

_POLICY = {"categories": [{"id": "C4", "name": "Targeting", "destinations": ["crm"]}]}


def sync_table(conn_id: str, *, sql: str, table: str, id_: str, email: str, document: str) -> dict[str, Any]:
    """Load the people who consented to C4 in a document into a table, and return the load's counts.

    Args:
        conn_id: of the model and of the table.
        sql: the model's query.
        table: to load, with the fields `id` and `email`.
        id_: the model's column of ids.
        email: the model's column of addresses.
        document: the model's column of consent objects.
    """
    snapshot = ExtractModelOperator(task_id="extract", model="shop", conn_id=conn_id, sql=sql, primary_key=id_).execute(
        {}
    )
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot,
        policy=_POLICY,
        consent={"C4": ConsentObjectKey(document, path=("C4",))},
        destinations=["crm"],
    ).execute({})
    counts: dict[str, Any] = LoadToSqlTableOperator(
        task_id="load",
        permitted=permitted,
        destination="crm",
        conn_id=conn_id,
        table=table,
        policy=_POLICY,
        fields={"id": id_, "email": email},
        max_removed_ratio=None,
    ).execute({})
    return counts
