"""A DAG that sends the orders of people who permit it to Meta's Conversions API, each once.

Needs the connections `postgres` and `consentmeta_default`, and the Variable `consent_policy`. The policy requires the
category `C0004` for `meta_capi`, and guards its field
`data_processing_options` with `C0008`, the sale of data. An order cannot be taken back at Meta.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.consent import ConsentObject
from airflow_consent_retl.fields import consent as told_answer
from airflow_consent_retl.fields import constant
from airflow_consent_retl.operators import LoadToMetaConversionsOperator
from airflow_consent_retl.sync import consent_sync

# Meta takes no event that is older than 7 days.
MODEL = """
SELECT order_id, email, ordered_at, amount, currency, us_state, consent
FROM orders JOIN customers USING (user_id)
WHERE ordered_at > now() - interval '6 days'
"""

with DAG(
    "meta_conversions",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as meta_conversions_dag:
    consent_sync(
        "orders",
        conn_id="postgres",
        sql=MODEL,
        primary_key="order_id",
        policy="variable:consent_policy",
        consent=ConsentObject("consent", path="categoryPreferences"),
        loads={
            "meta_capi": partial(
                LoadToMetaConversionsOperator,
                dataset_id="1234567890123",
                mode="insert",
                accept_no_removal=True,
                fields={
                    "event_id": "order_id",
                    "event_name": constant("Purchase"),
                    "event_time": "ordered_at",
                    "action_source": constant("physical_store"),
                    "email": "email",
                    "custom_data.value": "amount",
                    "custom_data.currency": "currency",
                    "data_processing_options": told_answer("C0008", granted="none", otherwise="LDU"),
                    "data_processing_state": "us_state",
                },
            )
        },
    )
