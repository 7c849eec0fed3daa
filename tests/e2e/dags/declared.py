"""A DAG that keeps Iterable's list, Customer.io's people and Acme's contacts at the people of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from airflow.sdk import DAG
from destinations.declared.acme import ACME

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import (
    LoadOperator,
    LoadToCustomerioOperator,
    LoadToDeclaredHttpOperator,
    LoadToIterableOperator,
)
from airflow_consent_retl.sync import consent_sync

LOADS: dict[str, Callable[..., LoadOperator]] = {
    "iterable": partial(
        LoadToIterableOperator,
        project_id=41,
        list_id=7,
        fields={"email": "email", "name": "name"},
        on_withdrawal="leave_audience",
        max_rejected_ratio=0.5,
    ),
    "customerio": partial(
        LoadToCustomerioOperator,
        workspace_id=9,
        fields={"id": "user_id", "name": "name"},
        on_withdrawal="unsubscribe",
        max_rejected_ratio=0.5,
    ),
    "acme": partial(
        LoadToDeclaredHttpOperator,
        declaration=ACME,
        conn_id="acme",
        parameters={"list_id": "{{ 3 + 4 }}"},
        fields={"id": "user_id", "name": "name", "newsletter": consent("C0002", granted="subscribed")},
        on_withdrawal="delete",
        max_rejected_ratio=0.5,
    ),
}

with DAG(
    "declared", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0}
) as declared_dag:
    consent_sync(
        "people",
        conn_id="warehouse",
        sql="SELECT * FROM people ORDER BY user_id",
        primary_key="user_id",
        policy={
            "categories": [
                {"id": "C0002", "name": "Analytics", "fields": {"acme": ["newsletter"]}},
                {"id": "C0004", "name": "Newsletter", "destinations": list(LOADS)},
            ]
        },
        consent={"C0002": "analytics_ok", "C0004": Literals("ads", granted=("yes",), denied=("no",))},
        loads=LOADS,
    )
