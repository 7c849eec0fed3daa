"""A DAG from a warehouse to the profiles of a Klaviyo account, and to the subscribers of its e-mail.

Needs the connections `warehouse` and `consentklaviyo_default`, and the Variable `consent_policy`, in which `klaviyo` is
mapped to C0002 (customer data), and C0005 (newsletter) guards its field `subscriptions.email.marketing.consent`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import LoadToKlaviyoOperator
from airflow_consent_retl.sync import consent_sync

with DAG(
    "warehouse_to_klaviyo",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as warehouse_to_klaviyo_dag:
    consent_sync(
        "customers",
        conn_id="warehouse",
        sql="SELECT user_id, email, first_name, city, plan, data_ok, newsletter_ok, newsletter_at FROM customers",
        primary_key="user_id",
        policy="variable:consent_policy",
        consent={"C0002": "data_ok", "C0005": "newsletter_ok"},
        loads={
            "klaviyo": partial(
                LoadToKlaviyoOperator,
                account_id="Ab12Cd",
                fields={
                    "external_id": "user_id",
                    "email": "email",
                    "first_name": "first_name",
                    "location.city": "city",
                    "properties.plan": "plan",
                    "subscriptions.email.marketing.consent": consent("C0005", granted="SUBSCRIBED"),
                    "subscriptions.email.marketing.consented_at": "newsletter_at",
                },
                on_withdrawal="unsubscribe_channels",
                unsubscribes=["email"],
                deferrable=True,
            )
        },
    )
