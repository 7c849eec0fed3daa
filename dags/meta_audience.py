"""A DAG that keeps a customer list audience of Meta equal to the people who permit it.

Needs the connections `postgres` and `consentmeta_default`, the Variable `consent_policy`, and the extras `postgres` and
`phone`. The policy requires the category `C0004` for `meta_ads`, and guards its field `data_processing_options` with
`C0008`, the sale of data.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.consent import ConsentObject
from airflow_consent_retl.fields import consent as told_answer
from airflow_consent_retl.operators import LoadToMetaAudienceOperator
from airflow_consent_retl.sync import consent_sync

MODEL = """
SELECT user_id, email, phone, country, us_state, consent FROM customers
"""

with DAG(
    "meta_audience",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as meta_audience_dag:
    consent_sync(
        "customers",
        conn_id="postgres",
        sql=MODEL,
        primary_key="user_id",
        policy="variable:consent_policy",
        consent=ConsentObject("consent", path="categoryPreferences"),
        loads={
            "meta_ads": partial(
                LoadToMetaAudienceOperator,
                audience_id="120330000000042",
                on_withdrawal="leave_audience",
                phone_region="US",
                fields={
                    "email": "email",
                    "phone": "phone",
                    "country": "country",
                    "data_processing_options": told_answer("C0008", granted="none", otherwise="LDU"),
                    "data_processing_state": "us_state",
                },
            )
        },
    )
