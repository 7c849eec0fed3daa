"""The DAG of the tests of mapped task groups: each element of a list is a model, named by its index."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, task, task_group

from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToSqlTableOperator

POLICY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm_table"]}],
}

with DAG("parts", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as parts_dag:

    @task
    def elements() -> list[dict[str, str]]:
        """Return the model and the SQL of each part."""
        parts = enumerate(json.loads(os.environ["PARTS"]))
        return [
            {"name": f"part_{index}", "sql": f"SELECT id, email, ads_ok FROM people WHERE {part}"}
            for index, part in parts
        ]

    @task_group
    def one_part(name: str, sql: str) -> None:
        """Load one part."""
        snapshot = ExtractModelOperator(
            task_id="extract", model=name, conn_id="warehouse", primary_key="id", sql=sql
        ).output
        permitted = ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=POLICY,
            consent={"C0004": "ads_ok"},
            destinations=["crm_table"],
        ).output
        LoadToSqlTableOperator(
            task_id="load",
            permitted=permitted,
            destination="crm_table",
            conn_id="crm",
            table=name,
            policy=POLICY,
            fields={"id": "id", "email": "email"},
            mode="upsert",
        )

    one_part.expand_kwargs(elements())
