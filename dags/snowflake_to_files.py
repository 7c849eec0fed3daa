"""From Snowflake to files for an analytics team. Needs the connection `snowflake` and the extra `snowflake`."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_consent_retl.consent import ConsentObject
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToFilesOperator

with DAG(
    "snowflake_to_files",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
):
    snapshot = ExtractModelOperator(
        task_id="extract",
        model="customers",
        conn_id="snowflake",
        # Snowflake's names are upper case unless quoted.
        sql="SELECT USER_ID, COUNTRY, ORDERS, CONSENT FROM CUSTOMERS",
        primary_key="USER_ID",
    )
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot.output,
        policy="connection:consent_policy",
        consent=ConsentObject("CONSENT", path="categoryPreferences"),
        destinations=["lake"],
        max_invalid_ratio=0.01,
    )
    LoadToFilesOperator(
        task_id="load_lake",
        permitted=permitted.output,
        destination="lake",
        path="s3://aws_default@analytics/customers",
        fields={"id": "USER_ID", "country": "COUNTRY", "orders": "ORDERS"},
    )
