"""Two DAGs: the sync, and the fast lane that removes people who withdrew, without waiting for the next load.

The fast lane runs every five minutes. It serves the same destinations as the sync, with the same parameters: both DAGs
use `LOADS`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.operators import (
    LoadOperator,
    LoadToSqlTableOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.sync import consent_sync

MODEL = "SELECT user_id, email, analytics_ok, ads_ok, consent_changed_at FROM customers"
CONSENT = {"C0002": "analytics_ok", "C0004": "ads_ok"}
LOADS: dict[str, Callable[..., LoadOperator]] = {
    "webhook": partial(
        LoadToWebhookOperator, conn_id="crm_http", endpoint="/v1/people", fields={"id": "user_id", "email": "email"}
    ),
    "crm_table": partial(
        LoadToSqlTableOperator, conn_id="crm", table="people", fields={"id": "user_id", "email": "email"}
    ),
}

with DAG(
    "consent_customers",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as consent_customers_dag:
    consent_sync(
        "customers",
        conn_id="warehouse",
        sql=MODEL,
        primary_key="user_id",
        policy="variable:consent_policy",
        consent=CONSENT,
        loads=LOADS,
    )

with DAG(
    "consent_withdrawals",
    schedule=timedelta(minutes=5),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["consent"],
) as consent_withdrawals_dag:
    PropagateWithdrawalsOperator(
        task_id="withdraw",
        model="customers",
        conn_id="warehouse",
        sql=MODEL,
        primary_key="user_id",
        policy="variable:consent_policy",
        consent=CONSENT,
        loads=LOADS,
        withdrawn_at="consent_changed_at",
        retries=3,
        retry_delay=timedelta(minutes=1),
    )
