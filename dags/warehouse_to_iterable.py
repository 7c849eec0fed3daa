"""A DAG from a warehouse to a list of Iterable.

Needs the connections `warehouse` and `consentiterable_default`, and the Variable `consent_policy`, which maps the
category C0005 (newsletter) to `iterable`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.operators import LoadToIterableOperator
from airflow_consent_retl.sync import consent_sync

with DAG(
    "warehouse_to_iterable",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as warehouse_to_iterable_dag:
    consent_sync(
        "readers",
        conn_id="warehouse",
        sql="SELECT user_id, email, first_name, city, newsletter_ok FROM customers",
        primary_key="user_id",
        policy="variable:consent_policy",
        consent={"C0005": "newsletter_ok"},
        loads={
            "iterable": partial(
                LoadToIterableOperator,
                project_id=41,
                list_id=1234567,
                fields={"email": "email", "firstName": "first_name", "address.city": "city"},
                # They leave the list; profile, other lists and channels stay as they are.
                on_withdrawal="leave_audience",
            )
        },
    )
