"""A DAG with the whole path on one machine: a DuckDB warehouse, one consent policy, three destinations.

`make demo` creates the warehouse of invented customers and the receiving webhook, and runs this DAG through Airflow.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_consent_retl.consent import ConsentObjectKey, Literals
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ConsentReportOperator,
    ExtractModelOperator,
    LoadToFilesOperator,
    LoadToSqlTableOperator,
    LoadToWebhookOperator,
)

EXPORTS = os.environ.get("QUICKSTART_EXPORTS", "file:///tmp/consent-quickstart/exports")
REPORT = os.environ.get("QUICKSTART_REPORT", f"{EXPORTS}/report.html")

with DAG("consent_quickstart", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), tags=["consent"]):
    snapshot = ExtractModelOperator(
        task_id="extract",
        model="customers",
        conn_id="warehouse",
        sql="SELECT * FROM customers",
        primary_key="user_id",
    )
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot.output,
        policy="variable:consent_policy",
        consent={
            "C0002": "analytics_consent",
            "C0004": Literals("ads_consent", granted=("yes",), denied=("no",)),
            "C0007": ConsentObjectKey("preferences", path=("categoryPreferences", "C0007")),
        },
        destinations=["ads_webhook", "crm_table", "lake"],
    )
    ads = LoadToWebhookOperator(
        task_id="load_ads_webhook",
        permitted=permitted.output,
        destination="ads_webhook",
        conn_id="ads_http",
        endpoint="/v1/people",
        fields={"id": "user_id", "email": "email", "country": "country", "lifetime_value": "lifetime_value"},
        max_rejected_ratio=0.01,
    )
    crm = LoadToSqlTableOperator(
        task_id="load_crm_table",
        permitted=permitted.output,
        destination="crm_table",
        conn_id="crm",
        table="people",
        fields={"id": "user_id", "email": "email", "first_name": "first_name", "last_name": "last_name"},
    )
    lake = LoadToFilesOperator(
        task_id="load_lake",
        permitted=permitted.output,
        destination="lake",
        path=f"{EXPORTS}/lake",
        fields={"id": "user_id", "country": "country", "orders": "orders", "last_order_at": "last_order_at"},
    )
    # A teardown runs also after a load failed, and does not hide it.
    [ads, crm, lake] >> ConsentReportOperator(task_id="report", to=REPORT, days=30).as_teardown(setups=permitted)
