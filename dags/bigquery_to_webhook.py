"""A DAG from BigQuery to a partner's webhook. Consent is decided inside BigQuery, and only changed rows leave it.

Needs the connections `bigquery` (type `gcpbigquery`) and `partner_http`, the Variable `consent_policy`, a dataset
`consent_staging` that the account may write to, and the extra `google`. `docs/bigquery.md` lists the roles.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.operators import LoadToWebhookOperator
from airflow_consent_retl.sync import consent_sync

with DAG(
    "bigquery_to_webhook",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["consent"],
) as bigquery_to_webhook_dag:
    consent_sync(
        "customers",
        conn_id="bigquery",
        sql="SELECT user_id, email, country, ad_user_data, ad_personalization FROM marketing.customers",
        primary_key="user_id",
        policy="variable:consent_policy",
        consent={
            "ad_user_data": Literals("ad_user_data", granted=("GRANTED",), denied=("DENIED",)),
            "ad_personalization": Literals("ad_personalization", granted=("GRANTED",), denied=("DENIED",)),
        },
        loads={
            "partner_webhook": partial(
                LoadToWebhookOperator,
                conn_id="partner_http",
                endpoint="/v1/people",
                fields={"id": "user_id", "email": "email", "country": "country"},
            )
        },
        deferrable=True,
        workspace="warehouse:consent_staging",
    )
