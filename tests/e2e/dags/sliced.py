"""A sync whose load is sent by several tasks, and the fast lane of the same destination."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.operators import LoadToWebhookOperator, PropagateWithdrawalsOperator
from airflow_consent_retl.sync import consent_sync

MODEL = "SELECT user_id, email, ads_ok FROM customers"
CONSENT = {"C0004": "ads_ok"}
LOADS = {
    "webhook": partial(
        LoadToWebhookOperator,
        conn_id="crm_http",
        endpoint="/v1/people",
        fields={"id": "user_id", "email": "email"},
        batch_rows=2,
        max_attempts=1,
    )
}

with DAG(
    "sliced", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0}
) as sliced_dag:
    consent_sync(
        "customers",
        conn_id="warehouse",
        sql=MODEL,
        primary_key="user_id",
        policy="variable:consent_policy",
        consent=CONSENT,
        loads=LOADS,
        slices=3,
    )

with DAG("sliced_withdrawals", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as sliced_withdrawals_dag:
    PropagateWithdrawalsOperator(
        task_id="withdraw",
        model="customers",
        conn_id="warehouse",
        sql=MODEL,
        primary_key="user_id",
        policy="variable:consent_policy",
        consent=CONSENT,
        loads=LOADS,
    )
