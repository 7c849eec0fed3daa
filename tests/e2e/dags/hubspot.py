"""A DAG that keeps the contacts of a HubSpot account at the people of the end-to-end tests."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToHubSpotOperator

with DAG(
    "hubspot_contacts", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0}
) as hubspot_contacts_dag:
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
                {"id": "C0002", "name": "User data", "destinations": ["hubspot"]},
                {"id": "C0004", "name": "Newsletter", "fields": {"hubspot": ["subscriptions.11"]}},
            ]
        },
        consent={"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))},
        destinations=["hubspot"],
    )
    LoadToHubSpotOperator(
        task_id="load",
        permitted=permitted.output,
        destination="hubspot",
        hub_id="7001",
        id_property="customer_id",
        fields={
            "customer_id": "user_id",
            "email": "email",
            "firstname": "name",
            "subscriptions.11": consent("C0004", granted="SUBSCRIBED"),
        },
        on_withdrawal="unsubscribe",
        unsubscribes=[11],
        legal_basis="CONSENT_WITH_NOTICE",
        legal_basis_explanation="Preference centre, category C0004",
        max_rejected_ratio=0.5,
    )
