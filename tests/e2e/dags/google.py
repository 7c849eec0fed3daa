"""A DAG that syncs the people of the end-to-end tests to a Customer Match audience, and waits without a worker."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToGoogleCustomerMatchOperator,
)

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
