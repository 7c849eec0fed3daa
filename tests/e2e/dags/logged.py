"""A DAG whose runs leave their counts in tables of a database."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.operators import LoadToWebhookOperator, SyncLogsOperator
from airflow_consent_retl.sync import consent_sync

START = datetime(2026, 1, 1, tzinfo=UTC)

with DAG("logged", schedule=None, start_date=START, default_args={"retries": 0}) as logged_dag:
    consent_sync(
        "people",
        conn_id="warehouse",
        sql="SELECT * FROM people ORDER BY user_id",
        primary_key="user_id",
        policy="variable:e2e_policy",
        consent={"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))},
        loads={
            "webhook": partial(
                LoadToWebhookOperator,
                conn_id="crm_http",
                endpoint="/people",
                fields={"id": "user_id", "email": "email"},
            )
        },
        sync_logs="logs",
    )

with DAG("all_logged", schedule=None, start_date=START, default_args={"retries": 0}) as all_logged_dag:
    SyncLogsOperator(task_id="sync_logs", conn_id="logs")
