"""DAGs that sync the people of the end-to-end tests to Google, and wait without a worker: an audience, and orders."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.fields import consent as told_answer
from airflow_consent_retl.fields import constant
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToGoogleCustomerMatchOperator,
    LoadToGoogleEventsOperator,
)
from airflow_consent_retl.sync import consent_sync

with DAG(
    "audience", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0}
) as audience_dag:
    snapshot = ExtractModelOperator(
        task_id="extract",
        model="people",
        conn_id="warehouse",
        sql="SELECT * FROM people ORDER BY user_id",
        primary_key="user_id",
    )
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot.output,
        policy={
            "categories": [
                {"id": "C0002", "name": "User data", "destinations": ["google_ads"]},
                {"id": "C0004", "name": "Personal ads", "destinations": ["google_ads"]},
            ]
        },
        consent={"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))},
        destinations=["google_ads:emea"],
    )
    LoadToGoogleCustomerMatchOperator(
        task_id="load",
        permitted=permitted.output,
        destination="google_ads:emea",
        gcp_conn_id="local_google",
        audience_id="42",
        operating_account="123-456-7890",
        login_account="987",
        fields={"email": "email"},
        consent_signals={"ad_user_data": "C0002", "ad_personalization": "C0004"},
        terms_of_service_accepted=True,
        deferrable=True,
        confirm_interval_s=0.1,
        confirm_timeout_s=60,
    )

ORDERS = f"""
SELECT user_id || '-order' AS order_id, user_id || '-click' AS gclid, email, ads, analytics_ok,
    TIMESTAMPTZ '{os.environ.get("ORDERED_AT", "2026-11-01")}' AS ordered_at
FROM people ORDER BY user_id
"""

with DAG(
    "conversions", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0}
) as conversions_dag:
    consent_sync(
        "orders",
        conn_id="warehouse",
        sql=ORDERS,
        primary_key="order_id",
        policy={
            "categories": [
                {"id": "C0004", "name": "Ads", "destinations": ["google_conversions"]},
                {"id": "C0002", "name": "Personal ads", "fields": {"google_conversions": ["ad_personalization"]}},
            ]
        },
        consent={"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))},
        loads={
            "google_conversions": partial(
                LoadToGoogleEventsOperator,
                gcp_conn_id="local_google",
                product_destination_id="4711",
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
                    "ad_personalization": told_answer("C0002", granted="granted", otherwise="denied"),
                },
                deferrable=True,
                confirm_interval_s=0.1,
                confirm_timeout_s=60,
            )
        },
    )
