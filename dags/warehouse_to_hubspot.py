"""A DAG from a warehouse to the contacts of a HubSpot account.

Needs the connections `warehouse` and `consenthubspot_default`, and the Variable `consent_policy`, in which `hubspot` is
mapped to C0002 (customer data), and C0005 (newsletter) guards its field `subscriptions.998877`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import LoadToHubSpotOperator
from airflow_consent_retl.sync import consent_sync

NEWSLETTER = 998877

with DAG(
    "warehouse_to_hubspot",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as warehouse_to_hubspot_dag:
    consent_sync(
        "customers",
        conn_id="warehouse",
        sql="SELECT user_id, email, first_name, city, data_ok, newsletter_ok FROM customers",
        primary_key="user_id",
        policy="variable:consent_policy",
        consent={"C0002": "data_ok", "C0005": "newsletter_ok"},
        loads={
            "hubspot": partial(
                LoadToHubSpotOperator,
                hub_id="1234567",
                # A property with unique values, made once in the settings of the account.
                id_property="customer_id",
                fields={
                    "customer_id": "user_id",
                    "email": "email",
                    "firstname": "first_name",
                    "city": "city",
                    f"subscriptions.{NEWSLETTER}": consent("C0005", granted="SUBSCRIBED"),
                },
                on_withdrawal="unsubscribe",
                unsubscribes=[NEWSLETTER],
                legal_basis="CONSENT_WITH_NOTICE",
                legal_basis_explanation="Preference centre, category C0005",
            )
        },
    )
