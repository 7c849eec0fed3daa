"""The DAGs of the end-to-end tests. Connections, Variables and the environment hold what differs between tests."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_consent_retl.consent import CategorySignal, ConsentObjectKey, Literals
from airflow_consent_retl.fields import consent as told_answer
from airflow_consent_retl.fields import constant, expression
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToFilesOperator,
    LoadToSqlTableOperator,
    LoadToWebhookOperator,
    permitted_batches,
    permitted_dataframes,
)
from airflow_consent_retl.sync import consent_sync

CONSENT: dict[str, str | CategorySignal] = {
    "C0002": "analytics_ok",
    "C0004": Literals("ads", granted=("yes",), denied=("no",)),
    "C0007": ConsentObjectKey("preferences", path=("categoryPreferences", "C0007")),
}
FIELDS = {"id": "user_id", "email": "email", "full_name": "name"}
POLICY: dict[str, Any] = json.loads((Path(__file__).parent / "policy.json").read_text())
START = datetime(2026, 1, 1, tzinfo=UTC)
HOME = Path(os.environ.get("E2E_HOME", "/nonexistent"))

dag = partial(DAG, schedule=None, start_date=START, default_args={"retries": 0})


def extract(sql: str = "SELECT * FROM people ORDER BY user_id") -> ExtractModelOperator:
    return ExtractModelOperator(task_id="extract", model="people", conn_id="warehouse", sql=sql, primary_key="user_id")


def permit(snapshot: ExtractModelOperator, *, policy: Any = "variable:e2e_policy", **options: Any) -> Any:
    return ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot.output,
        policy=policy,
        consent=CONSENT,
        destinations=["webhook", "crm_table", "lake"],
        **options,
    ).output


def load_webhook(permitted: Any, **options: Any) -> LoadToWebhookOperator:
    return LoadToWebhookOperator(
        task_id="load",
        permitted=permitted,
        destination="webhook",
        conn_id="crm_http",
        endpoint="/v1/people",
        fields=FIELDS,
        max_attempts=1,
        **options,
    )


with dag("webhook") as webhook_dag:
    load_webhook(permit(extract()))

with dag("values") as values_dag:
    consent_sync(
        "people",
        conn_id="warehouse",
        sql="SELECT * FROM people ORDER BY user_id",
        primary_key="user_id",
        policy={
            "categories": [
                {"id": "C0002", "name": "Analytics", "destinations": ["webhook"]},
                {"id": "C0004", "name": "Advertising", "destinations": ["webhook"]},
            ],
            "destinations": {"webhook": {"match": "any"}},
        },
        consent={"C0002": "analytics_ok", "C0004": CONSENT["C0004"]},
        loads={
            "webhook": partial(
                LoadToWebhookOperator,
                conn_id="crm_http",
                endpoint="/v1/people",
                fields={
                    "id": "user_id",
                    "run": constant("{{ dag.dag_id }}"),
                    "domain": expression("split_part(email, '@', 2)"),
                    "analytics": told_answer("C0002", granted="yes", otherwise="no"),
                },
            )
        },
    )

with dag("table") as table_dag:
    LoadToSqlTableOperator(
        task_id="load",
        permitted=permit(extract()),
        destination="crm_table",
        conn_id="crm",
        table="people",
        fields=FIELDS,
    )

with dag("files") as files_dag:
    LoadToFilesOperator(
        task_id="load",
        permitted=permit(extract()),
        destination="lake",
        path=f"{HOME.as_uri()}/exports/lake",
        format="csv",
        fields=FIELDS,
    )

with dag("own_tasks") as own_tasks_dag:

    @task
    def collect(permitted: Any) -> dict[str, int]:
        """Use the rows and return only counts."""
        batches = list(permitted_batches(permitted, destination="crm_table", fields={"id": "user_id"}))
        frames = list(
            permitted_dataframes(permitted, destination="lake", fields={"id": "user_id", "ok": "analytics_ok"})
        )
        (HOME / "collected.json").write_text(json.dumps([row["id"] for batch in batches for row in batch.to_pylist()]))
        return {"arrow": sum(b.num_rows for b in batches), "pandas": sum(len(frame) for frame in frames)}

    collect(permit(extract()))


def whole_sync(policy: Any) -> None:
    consent_sync(
        "people",
        conn_id="warehouse",
        sql="SELECT * FROM people ORDER BY user_id",
        primary_key="user_id",
        policy=policy,
        consent=CONSENT,
        loads={
            "webhook": partial(LoadToWebhookOperator, conn_id="crm_http", endpoint="/v1/people", fields=FIELDS),
            "crm_table": partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS),
            "lake": partial(LoadToFilesOperator, path=f"{HOME.as_uri()}/exports/lake", fields=FIELDS),
        },
    )


with dag("sync_variable") as sync_variable_dag:
    whole_sync("variable:e2e_policy")
with dag("sync_connection") as sync_connection_dag:
    whole_sync("connection:e2e_policy")
with dag("sync_file") as sync_file_dag:
    whole_sync(f"file:{HOME}/policy.json")
with dag("sync_inline") as sync_inline_dag:
    whole_sync(POLICY)


@task
def meddle(permitted: Any) -> Any:
    """Make a change between filter and load that the load must detect."""
    folder = Path(permitted["manifest"].removeprefix("file://")).parent
    groups = json.loads((folder / "manifest.json").read_text())["groups"]
    parts = [folder / part["name"] for group in groups if "webhook" in group["recipients"] for part in group["parts"]]
    what = os.environ["E2E_MEDDLE"]
    if what == "flip":
        content = bytearray(parts[0].read_bytes())
        content[len(content) // 2] ^= 1
        parts[0].write_bytes(content)
    elif what == "truncate":
        parts[0].write_bytes(parts[0].read_bytes()[:-1])
    elif what == "remove":
        parts[0].unlink()
    elif what == "manifest":
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"denied": ', '"denied":  '))
    elif what == "policy":
        policy = json.loads((HOME / "policy.json").read_text())
        policy["categories"][0]["destinations"].append("crm_table")
        (HOME / "policy.json").write_text(json.dumps(policy))
    return permitted


with dag("meddled") as meddled_dag:
    load_webhook(meddle(permit(extract(), policy=f"file:{HOME}/policy.json")), recheck_interval_s=None)

with dag("wrong_destination") as wrong_destination_dag:
    LoadToFilesOperator(
        task_id="load",
        permitted=permit(extract()),
        destination="lakes",
        path=f"{HOME.as_uri()}/exports/lake",
        fields=FIELDS,
    )

with dag("too_old") as too_old_dag:
    load_webhook(permit(extract()), max_age_s=0, recheck_interval_s=None)

with dag("broken_query") as broken_query_dag:
    load_webhook(permit(extract("SELECT CAST(email AS INTEGER) AS user_id FROM people")))

with dag("duplicate_ids") as duplicate_ids_dag:
    load_webhook(permit(extract("SELECT * FROM people UNION ALL SELECT * FROM people")))

with dag("column_twice") as column_twice_dag:
    load_webhook(permit(extract("SELECT user_id, email, name AS email FROM people")))

with dag("guarded") as guarded_dag:
    load_webhook(permit(extract(), max_denied_ratio=0.1))
