"""DAGs that keep a list, and the subscribers, of a Klaviyo account at the people of the end-to-end tests."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToKlaviyoOperator

with DAG(
    "newsletter", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0}
) as newsletter_dag:
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
                {"id": "C0002", "name": "User data", "destinations": ["klaviyo"]},
                {"id": "C0004", "name": "Newsletter", "destinations": ["klaviyo"]},
            ]
        },
        consent={"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))},
        destinations=["klaviyo"],
    )
    LoadToKlaviyoOperator(
        task_id="load",
        permitted=permitted.output,
        destination="klaviyo",
        account_id="Ab12Cd",
        list_id="L1",
        fields={
            "external_id": "user_id",
            "email": "email",
            "first_name": "name",
            "properties.offers": consent("C0004", granted=True, otherwise=False),
        },
        on_withdrawal="unsubscribe",
        max_rejected_ratio=0.5,
        deferrable=True,
        confirm_interval_s=0.1,
        confirm_timeout_s=60,
    )

with DAG(
    "subscribers", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0}
) as subscribers_dag:
    everyone = ExtractModelOperator(
        task_id="extract",
        model="people",
        conn_id="warehouse",
        sql="SELECT *, TIMESTAMP '2026-03-05 09:30:00' AS agreed_at FROM people ORDER BY user_id",
        primary_key="user_id",
    )
    some = ConsentFilterOperator(
        task_id="consent",
        snapshot=everyone.output,
        policy={
            "categories": [
                {"id": "C0002", "name": "User data", "destinations": ["klaviyo"]},
                {
                    "id": "C0004",
                    "name": "Newsletter",
                    "fields": {"klaviyo": ["subscriptions.email.marketing.consent"]},
                },
            ]
        },
        consent={"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))},
        destinations=["klaviyo"],
    )
    LoadToKlaviyoOperator(
        task_id="load",
        permitted=some.output,
        destination="klaviyo",
        account_id="Ab12Cd",
        fields={
            "external_id": "user_id",
            "email": "email",
            "first_name": "name",
            "subscriptions.email.marketing.consent": consent("C0004", granted="SUBSCRIBED"),
            "subscriptions.email.marketing.consented_at": "agreed_at",
        },
        on_withdrawal="unsubscribe_channels",
        unsubscribes=["email"],
        deferrable=True,
        confirm_interval_s=0.1,
        confirm_timeout_s=60,
    )
