"""A DAG whose model, primary key, consent and destinations come from a dbt project."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from airflow.sdk import DAG

from airflow_consent_retl.operators import LoadToSqlTableOperator
from airflow_consent_retl.sync import consent_sync

SHOP = Path(os.environ["E2E_HOME"]) / "shop"
# Airflow parses this folder for every end-to-end test, and only one of them has a project.
if SHOP.exists():
    with DAG(
        "dbt_shop",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        default_args={"retries": 0, "owner": "crm"},
    ) as dbt_shop_dag:
        consent_sync.from_dbt(
            SHOP,
            model="customers",
            conn_id="shop",
            policy="variable:e2e_policy",
            loads={
                "crm_table": partial(
                    LoadToSqlTableOperator, conn_id="crm", table="people", fields={"id": "user_id", "email": "email"}
                )
            },
            prune=False,
        )
