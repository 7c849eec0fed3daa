"""A DAG that keeps contacts of a Salesforce org at the people of the end-to-end tests, and waits without a worker."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.destinations.salesforce.consent_objects import ContactPointTypeConsent, IndividualFlags
from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToSalesforceOperator

with DAG(
    "salesforce_contacts", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0}
) as salesforce_contacts_dag:
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
                {"id": "C0002", "name": "User data", "destinations": ["salesforce"]},
                {"id": "C0004", "name": "Newsletter", "destinations": ["salesforce"]},
            ]
        },
        consent={"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))},
        destinations=["salesforce"],
    )
    LoadToSalesforceOperator(
        task_id="load",
        permitted=permitted.output,
        destination="salesforce",
        sobject="Contact",
        external_id="Customer_Key__c",
        fields={
            "Customer_Key__c": "user_id",
            "Email": "email",
            "LastName": "name",
            "newsletter": consent("C0004", granted="OptIn"),
        },
        on_withdrawal="consent_objects",
        consent_objects=[
            ContactPointTypeConsent(
                contact_point="Email",
                field="newsletter",
                external_id="Consent_Key__c",
                party="Individual:Party.Customer_Key__c",
            ),
            IndividualFlags(flags=("HasOptedOutSolicit",), external_id="Customer_Key__c"),
        ],
        deferrable=True,
        confirm_interval_s=0.1,
        confirm_timeout_s=60,
    )
