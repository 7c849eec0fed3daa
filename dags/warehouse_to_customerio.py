"""A DAG from a warehouse to the people of a Customer.io workspace.

Needs the connections `warehouse` and `consentcustomerio_default`, and the Variable `consent_policy`, which maps the
category C0005 (newsletter) to `customerio`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.operators import LoadToCustomerioOperator
from airflow_consent_retl.sync import consent_sync

with DAG(
    "warehouse_to_customerio",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as warehouse_to_customerio_dag:
    consent_sync(
        "readers",
        conn_id="warehouse",
        sql="SELECT user_id, email, first_name, newsletter_ok FROM customers",
        primary_key="user_id",
        policy="variable:consent_policy",
        consent={"C0005": "newsletter_ok"},
        loads={
            "customerio": partial(
                LoadToCustomerioOperator,
                workspace_id=98765,
                fields={"id": "user_id", "email": "email", "first_name": "first_name"},
                # They get no message any more, and stay in the workspace.
                on_withdrawal="unsubscribe",
            )
        },
    )
