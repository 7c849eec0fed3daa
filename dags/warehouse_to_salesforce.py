"""A DAG from a warehouse to the contacts of a Salesforce org, with consent in Salesforce's own objects.

Needs the connections `warehouse` and `salesforce_default`, and the Variable `consent_policy`, which maps the categories
C0002 (customer data) and C0005 (newsletter) to `salesforce`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.destinations.salesforce.consent_objects import ContactPointTypeConsent, IndividualFlags
from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import LoadToSalesforceOperator
from airflow_consent_retl.sync import consent_sync

# A custom external id of Contact and of Individual, with the primary key.
KEY = "Customer_Key__c"

with DAG(
    "warehouse_to_salesforce",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as warehouse_to_salesforce_dag:
    consent_sync(
        "customers",
        conn_id="warehouse",
        sql="SELECT user_id, last_name, email, data_ok, newsletter_ok FROM customers",
        primary_key="user_id",
        policy="variable:consent_policy",
        consent={"C0002": "data_ok", "C0005": "newsletter_ok"},
        loads={
            "salesforce": partial(
                LoadToSalesforceOperator,
                sobject="Contact",
                external_id=KEY,
                fields={
                    KEY: "user_id",
                    "LastName": "last_name",
                    "Email": "email",
                    "newsletter": consent("C0005", granted="OptIn"),
                },
                on_withdrawal="consent_objects",
                consent_objects=[
                    ContactPointTypeConsent(
                        contact_point="Email",
                        field="newsletter",
                        external_id="Consent_Key__c",
                        party=f"Individual:Party.{KEY}",
                    ),
                    IndividualFlags(flags=("HasOptedOutSolicit",), external_id=KEY),
                ],
                deferrable=True,
            )
        },
    )
