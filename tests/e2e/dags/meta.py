"""DAGs that sync the people of the end-to-end tests to Meta: their audience, and their orders as conversions."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from typing import Any

from airflow.sdk import DAG

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.fields import consent as told_answer
from airflow_consent_retl.fields import constant
from airflow_consent_retl.operators import LoadToMetaAudienceOperator, LoadToMetaConversionsOperator
from airflow_consent_retl.sync import consent_sync

POLICY = {
    "categories": [
        {"id": "C0004", "name": "Personal ads", "destinations": ["meta_ads", "meta_capi"]},
        {
            "id": "C0002",
            "name": "Sale of data",
            "fields": {"meta_ads": ["data_processing_options"], "meta_capi": ["data_processing_options"]},
        },
    ]
}
CONSENT: dict[str, Any] = {"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))}
OPTIONS = told_answer("C0002", granted="none", otherwise="LDU")
START = datetime(2026, 1, 1, tzinfo=UTC)

with DAG("meta_audience", schedule=None, start_date=START, default_args={"retries": 0}) as meta_audience_dag:
    consent_sync(
        "people",
        conn_id="warehouse",
        sql="SELECT * FROM people ORDER BY user_id",
        primary_key="user_id",
        policy=POLICY,
        consent=CONSENT,
        loads={
            "meta_ads": partial(
                LoadToMetaAudienceOperator,
                conn_id="local_meta",
                audience_id="120330000000042",
                on_withdrawal="leave_audience",
                fields={"email": "email", "data_processing_options": OPTIONS},
            )
        },
    )

ORDERS = f"""
SELECT user_id || '-order' AS event_id, email, ads, analytics_ok,
    TIMESTAMPTZ '{os.environ.get("ORDERED_AT", "2026-11-01")}' AS ordered_at
FROM people ORDER BY user_id
"""

with DAG("meta_conversions", schedule=None, start_date=START, default_args={"retries": 0}) as meta_conversions_dag:
    consent_sync(
        "orders",
        conn_id="warehouse",
        sql=ORDERS,
        primary_key="event_id",
        policy=POLICY,
        consent=CONSENT,
        loads={
            "meta_capi": partial(
                LoadToMetaConversionsOperator,
                conn_id="local_meta",
                dataset_id="1234567890123",
                mode="insert",
                accept_no_removal=True,
                fields={
                    "event_id": "event_id",
                    "event_name": constant("Purchase"),
                    "event_time": "ordered_at",
                    "action_source": constant("system_generated"),
                    "email": "email",
                    "data_processing_options": OPTIONS,
                },
            )
        },
    )
