"""The same day as `by_hand.py` through this package, for `day.py`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.operators import LoadToFilesOperator, LoadToSqlTableOperator, LoadToWebhookOperator
from airflow_consent_retl.sync import consent_sync

HOME = os.environ["DAY_HOME"]
POLICY = {
    "unmapped_destinations": "deny",
    "categories": [
        {"id": "C0", "name": "Analytics", "destinations": ["webhook"]},
        {"id": "C1", "name": "Advertising", "destinations": ["webhook"]},
        {"id": "C2", "name": "E-mail", "destinations": ["crm"]},
        {"id": "C3", "name": "Research", "destinations": ["lake"]},
    ],
}

with DAG("day_with_consent", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False) as dag:
    consent_sync(
        "customers",
        conn_id="day_warehouse",
        sql="SELECT * FROM customers",
        primary_key="user_id",
        reuse_unchanged=True,
        policy=POLICY,
        consent={"C0": "c0", "C1": "c1", "C2": "c2", "C3": "c3"},
        loads={
            "webhook": partial(
                LoadToWebhookOperator,
                conn_id="day_http",
                endpoint="/v1/people",
                fields={"id": "user_id", "email": "email", "country": "country", "orders": "orders"},
            ),
            "crm": partial(
                LoadToSqlTableOperator,
                conn_id="day_crm",
                table="people",
                fields={
                    "id": "user_id",
                    "email": "email",
                    "first_name": "first_name",
                    "last_name": "last_name",
                    "phone": "phone",
                },
            ),
            "lake": partial(
                LoadToFilesOperator,
                path=f"file://{HOME}/lake",
                fields={"id": "user_id", "country": "country", "orders": "orders", "updated_at": "updated_at"},
            ),
        },
    )
