"""Two DAGs from Snowflake to a Customer Match audience: the sync, and the fast lane for withdrawals.

Consent is decided inside Snowflake, and only changed rows leave it.

Needs the connections `snowflake` and `google_cloud_default`, the Variable `consent_policy`, a schema `CONSENT_STAGING`
that the role may write to, and the extras `snowflake` and `google`. `docs/snowflake.md` lists the rights.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.consent import ConsentObject
from airflow_consent_retl.operators import LoadToGoogleCustomerMatchOperator, PropagateWithdrawalsOperator
from airflow_consent_retl.sync import consent_sync

# Snowflake's names are upper case unless quoted.
MODEL = "SELECT USER_ID, EMAIL, PHONE, CONSENT, CONSENT_CHANGED_AT FROM CUSTOMERS"
# The categories that Google requires, by their ids in the consent platform.
CONSENT = ConsentObject("CONSENT", path="categoryPreferences")
LOADS = {
    "google_ads": partial(
        LoadToGoogleCustomerMatchOperator,
        gcp_conn_id="google_cloud_default",
        operating_account="123-456-7890",
        audience_id="987654321",
        fields={"email": "EMAIL", "phone": "PHONE"},
        consent_signals={"ad_user_data": "C0004", "ad_personalization": "C0004"},
        terms_of_service_accepted=True,
        deferrable=True,
        # Google takes from minutes to hours; the demonstration's server takes less than a second.
        confirm_interval_s=float(os.environ.get("GOOGLE_CONFIRM_INTERVAL_S", "60")),
    )
}

with DAG(
    "snowflake_to_google",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as snowflake_to_google_dag:
    consent_sync(
        "customers",
        conn_id="snowflake",
        sql=MODEL,
        primary_key="USER_ID",
        policy="variable:consent_policy",
        consent=CONSENT,
        loads=LOADS,
        max_invalid_ratio=0.01,
        deferrable=True,
        workspace="warehouse:CONSENT_STAGING",
    )

with DAG(
    "snowflake_withdrawals",
    schedule=timedelta(minutes=15),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["consent"],
) as snowflake_withdrawals_dag:
    PropagateWithdrawalsOperator(
        task_id="withdraw",
        model="customers",
        conn_id="snowflake",
        sql=MODEL,
        primary_key="USER_ID",
        policy="variable:consent_policy",
        consent=CONSENT,
        loads=LOADS,
        withdrawn_at="CONSENT_CHANGED_AT",
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
