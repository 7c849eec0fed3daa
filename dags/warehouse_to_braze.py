"""A DAG from a warehouse to the users of a Braze workspace.

Needs the connections `warehouse` and `consentbraze_default`, and the Variable `consent_policy`, in which `braze` is
mapped to C0002 (customer data), and C0005 (newsletter) guards its fields `email_subscribe` and `subscription_groups.…`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import LoadToBrazeOperator
from airflow_consent_retl.sync import consent_sync

NEWSLETTER = "8d1f3a52-6f0e-4a7c-9b1d-2c3e4f5a6b7c"

with DAG(
    "warehouse_to_braze",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as warehouse_to_braze_dag:
    consent_sync(
        "customers",
        conn_id="warehouse",
        sql="SELECT user_id, email, first_name, city, data_ok, newsletter_ok FROM customers",
        primary_key="user_id",
        policy="variable:consent_policy",
        consent={"C0002": "data_ok", "C0005": "newsletter_ok"},
        loads={
            "braze": partial(
                LoadToBrazeOperator,
                workspace_name="shop",
                fields={
                    "external_id": "user_id",
                    "email": "email",
                    "first_name": "first_name",
                    "home_city": "city",
                    "email_subscribe": consent("C0005", granted="opted_in"),
                    f"subscription_groups.{NEWSLETTER}": consent("C0005", granted="subscribed"),
                },
                on_withdrawal="unsubscribe",
                unsubscribes=[NEWSLETTER],
            )
        },
    )
