"""A DAG that sends the orders of people who permit it to Google Ads as offline conversions, each once.

Needs the connections `postgres` and `google_cloud_default`, the Variable `consent_policy`, and the extra `google`. The
policy requires the category `C0004` for `google_conversions`, and guards its field `ad_personalization` with `C0008`.
An order cannot be taken back by this API.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.consent import ConsentObject
from airflow_consent_retl.fields import consent as told_answer
from airflow_consent_retl.fields import constant
from airflow_consent_retl.operators import LoadToGoogleEventsOperator
from airflow_consent_retl.sync import consent_sync

# Clicks are known to Google for 90 days.
MODEL = """
SELECT order_id, email, gclid, ordered_at, amount, currency, consent
FROM orders JOIN customers USING (user_id)
WHERE ordered_at > now() - interval '80 days'
"""

with DAG(
    "google_events",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as google_events_dag:
    consent_sync(
        "orders",
        conn_id="postgres",
        sql=MODEL,
        primary_key="order_id",
        policy="variable:consent_policy",
        consent=ConsentObject("consent", path="categoryPreferences"),
        loads={
            "google_conversions": partial(
                LoadToGoogleEventsOperator,
                product_destination_id="987654321",
                operating_account="123-456-7890",
                consent_signals={"ad_user_data": "C0004"},
                mode="insert",
                accept_no_removal=True,
                fields={
                    "transaction_id": "order_id",
                    "event_timestamp": "ordered_at",
                    "event_source": constant("IN_STORE"),
                    "gclid": "gclid",
                    "email": "email",
                    "conversion_value": "amount",
                    "currency": "currency",
                    "ad_personalization": told_answer("C0008", granted="granted", otherwise="denied"),
                },
                deferrable=True,
            )
        },
    )
