"""The DAG of the tests of dated models: each run extracts the partition of its own day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, task

from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToSqlTableOperator

POLICY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm_table"]}],
}
SQL = "SELECT id, email, ads_ok FROM days WHERE ds = '{{ ds }}'"


def extract(**options: Any) -> ExtractModelOperator:
    given = {"task_id": "extract", "sql": SQL, **options}
    return ExtractModelOperator(model="people", conn_id="warehouse", primary_key="id", **given)


def permit(snapshot: Any, *, name: str = "consent") -> Any:
    return ConsentFilterOperator(
        task_id=name, snapshot=snapshot, policy=POLICY, consent={"C0004": "ads_ok"}, destinations=["crm_table"]
    ).output


def load(permitted: Any, *, name: str = "load") -> LoadToSqlTableOperator:
    return LoadToSqlTableOperator(
        task_id=name,
        permitted=permitted,
        destination="crm_table",
        conn_id="crm",
        table="people",
        policy=POLICY,
        fields={"id": "id", "email": "email"},
        max_removed_ratio=None,
        max_age_s=10 * 365 * 86_400,
    )


with DAG("daily", schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False) as daily_dag:
    load(permit(extract().output))

with DAG(
    "overtaken", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), render_template_as_native_obj=True
) as overtaken_dag:
    older = permit(extract(sql="SELECT id, email, ads_ok FROM days WHERE ds = '2026-11-26'").output)
    newer_rows = extract(task_id="extract_newer", sql="SELECT id, email, ads_ok FROM days WHERE ds = '2026-11-27'")
    older.operator >> newer_rows
    newer = load(permit(newer_rows.output, name="consent_newer"), name="load_newer")
    # A DAG that loads a sync twice is refused where the DAG shows it. Real runs overtake each other.
    overtaken = load("{{ ti.xcom_pull(task_ids='consent') }}", name="load_older")
    newer >> overtaken

with DAG("mapped", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as mapped_dag:

    @task
    def queries() -> list[str]:
        """Return the SQL of each day, the newest first."""
        return [f"SELECT id, email, ads_ok FROM days WHERE ds = '2026-11-{day}'" for day in (27, 26)]

    snapshots = ExtractModelOperator.partial(
        task_id="extract", model="people", conn_id="warehouse", primary_key="id"
    ).expand(sql=queries())
    permitted_sets = ConsentFilterOperator.partial(
        task_id="consent", policy=POLICY, consent={"C0004": "ads_ok"}, destinations=["crm_table"]
    ).expand(snapshot=snapshots.output)
    LoadToSqlTableOperator.partial(
        task_id="load",
        destination="crm_table",
        conn_id="crm",
        table="people",
        policy=POLICY,
        fields={"id": "id", "email": "email"},
        max_removed_ratio=None,
        max_active_tis_per_dagrun=1,
    ).expand(permitted=permitted_sets.output)
