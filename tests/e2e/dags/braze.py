"""A DAG that keeps the users of a Braze workspace at the people of the end-to-end tests."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToBrazeOperator

with DAG("users", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0}) as users_dag:
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
                {"id": "C0002", "name": "User data", "destinations": ["braze"]},
                {
                    "id": "C0004",
                    "name": "Newsletter",
                    "fields": {"braze": ["email_subscribe", "subscription_groups.news"]},
                },
            ]
        },
        consent={"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))},
        destinations=["braze"],
    )
    LoadToBrazeOperator(
        task_id="load",
        permitted=permitted.output,
        destination="braze",
        workspace_name="shop",
        fields={
            "external_id": "user_id",
            "email": "email",
            "first_name": "name",
            "email_subscribe": consent("C0004", granted="opted_in"),
            "subscription_groups.news": consent("C0004", granted="subscribed"),
        },
        on_withdrawal="unsubscribe",
        unsubscribes=["news"],
        max_rejected_ratio=0.5,
    )
