"""Consent decided inside a warehouse is the consent that files would have had, and rows stay where they are."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import task_fails
from support.permitting import changed_by_hand
from support.postgres import Postgres

from airflow_consent_retl.consent import ConsentObject, ConsentObjectKey, Literals
from airflow_consent_retl.databases.staging import new_name
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.hooks.pruning import prune
from airflow_consent_retl.hooks.workspaces import staging_warehouse
from airflow_consent_retl.operators import permitted_batches
from airflow_consent_retl.operators.consent import ConsentFilterOperator
from airflow_consent_retl.operators.drop_staging import DropStagingTablesOperator
from airflow_consent_retl.operators.extract import ExtractModelOperator
from airflow_consent_retl.reports import verify
from airflow_consent_retl.storage.decision_log import find_decisions
from airflow_consent_retl.storage.location import manifest_folder, subject_key
from airflow_consent_retl.storage.manifest import ManifestRef, PermittedManifest

POLICY = {
    "categories": [
        {"id": "C1", "name": "Boolean", "destinations": ["crm", "mail"]},
        {"id": "C2", "name": "Literals", "destinations": ["ads"]},
        {"id": "C3", "name": "Levels", "destinations": ["mail"]},
        {"id": "C4", "name": "Native", "destinations": ["native", "crm"]},
        {"id": "C5", "name": "Text", "destinations": ["text"]},
    ],
    "destinations": {"open": {"consent": "not_required", "reason": "own store"}},
}
CONSENT: dict[str, Any] = {
    "C1": "ok",
    "C2": Literals("ads", granted=("yes ",), denied=("no  ",)),
    "C3": Literals("level", granted=(1, 2), denied=(0,)),
    "C4": ConsentObjectKey("doc", path=("p", "C4")),
    "C5": ConsentObjectKey("prefs", path=("C5",)),
}
DESTINATIONS = ["crm", "mail", "ads", "native", "text", "open"]


def extract(workspace: str | None, **parameters: Any) -> Any:
    settings: dict[str, Any] = {"sql": "SELECT * FROM customers", "primary_key": "id", **parameters}
    return ExtractModelOperator(
        task_id="extract", model="customers", conn_id="pg", workspace=workspace, **settings
    ).execute({})


def permit(snapshot: Any, **parameters: Any) -> Any:
    settings: dict[str, Any] = {"policy": POLICY, "consent": CONSENT, "destinations": DESTINATIONS, **parameters}
    return ConsentFilterOperator(task_id="consent", snapshot=snapshot, **settings).execute({})


def manifest_of(permitted: Any) -> PermittedManifest:
    ref = ManifestRef.from_xcom(permitted, kind="permitted")
    return PermittedManifest.from_json(manifest_folder(ref.manifest).read_manifest(sha256=ref.sha256))


def staging_tables(postgres: Postgres) -> list[str]:
    with postgres.connect() as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'").fetchall()
    return sorted(str(name) for (name,) in found)


def test_every_destination_gets_the_same_rows_for_the_same_reasons_as_from_files(customers: Postgres) -> None:
    lake, staged = (manifest_of(permit(extract(workspace))) for workspace in (None, "warehouse:staging"))

    assert staged.destinations == lake.destinations
    assert (staged.rows_read, staged.rows_for_nobody) == (lake.rows_read, lake.rows_for_nobody)
    assert [(group.recipients, group.rows) for group in staged.groups] == [
        (group.recipients, group.rows) for group in lake.groups
    ]
    assert {c.name: c.type for c in staged.columns if c.name != "spent"} == {
        c.name: c.type for c in lake.columns if c.name != "spent"
    }
    assert staged.decision_log.rows == lake.decision_log.rows


def test_a_permitted_row_is_in_one_table_once_with_the_group_of_its_recipients(customers: Postgres) -> None:
    manifest = manifest_of(permit(extract("warehouse:staging")))

    assert manifest.staged is not None
    with customers.connect() as connection:
        rows = connection.execute(
            f"SELECT consent_retl_group, count(*), count(DISTINCT id), bool_and(ok) "
            f"FROM staging.{manifest.staged.permitted.name} GROUP BY 1"
        ).fetchall()
    assert {group: count for group, count, *_ in rows} == {n: g.rows for n, g in enumerate(manifest.groups) if g.rows}
    assert all(count == distinct for _, count, distinct, _ in rows)
    assert all(ok for group, _, _, ok in rows if "crm" in manifest.groups[int(str(group))].recipients)


def test_whoever_has_the_key_finds_the_decision_and_the_table_tells_nobody_else(customers: Postgres) -> None:
    permitted = permit(extract("warehouse:staging"))
    manifest = manifest_of(permitted)
    folder = manifest_folder(ManifestRef.from_xcom(permitted, kind="permitted").manifest)

    with staging_warehouse("pg", "staging") as warehouse:
        found = list(find_decisions(folder, manifest, subject_key(None), "c1", warehouse=warehouse))

    assert manifest.staged is not None
    assert [row.subject for row in found] == ["identified"]
    assert found[0].denied["ads"] == ["C2:denied"]
    with customers.connect() as connection:
        kept = connection.execute(f"SELECT * FROM staging.{manifest.staged.decisions.name}").fetchall()
    plain = hashlib.sha256(b"c1").hexdigest()
    assert not {"c1", plain} & {str(digest) for digest, _ in kept}
    assert len(kept) == manifest.decision_log.rows


def test_ids_that_are_missing_or_occur_twice_are_denied_everywhere_or_fail(customers: Postgres) -> None:
    with customers.connect() as connection:
        connection.execute(
            "UPDATE customers SET id = 'c7' WHERE id = 'c8'; UPDATE customers SET id = NULL WHERE id = 'c9'"
        )

    with task_fails(match="is NULL in 1 of 2,000 rows"):
        extract("warehouse:staging")
    lake, staged = (
        manifest_of(permit(extract(workspace, check_primary_key=False), on_duplicate_id="deny"))
        for workspace in (None, "warehouse:staging")
    )
    with task_fails(match="1 ids of `id` occur more than once"):
        permit(extract("warehouse:staging", check_primary_key=False))

    assert staged.destinations == lake.destinations
    assert staged.destinations["open"].denied_by_reason == {"duplicate_id": 2, "missing_id": 1}


def test_a_task_that_fails_leaves_no_table(customers: Postgres) -> None:
    snapshot = extract("warehouse:staging")
    before = staging_tables(customers)

    with task_fails(match="max_denied_ratio"):
        permit(snapshot, max_denied_ratio=0.01)
    with task_fails(match="is not unique"):
        extract("warehouse:staging", primary_key="level")

    assert staging_tables(customers) == before


def test_a_consent_column_that_was_renamed_stops_the_run_with_the_near_match(customers: Postgres) -> None:
    with customers.connect() as connection:
        connection.execute("ALTER TABLE customers RENAME ok TO ok_")
    snapshot = extract("warehouse:staging")
    before = staging_tables(customers)

    with task_fails(match=r"`ok`.*`ok_`"):
        permit(snapshot)

    assert staging_tables(customers) == before


def test_a_consent_column_in_another_case_is_refused_with_its_spelling(customers: Postgres) -> None:
    with task_fails(match="did you mean `ok`"):
        permit(extract("warehouse:staging"), consent=CONSENT | {"C1": "OK"})


def test_rows_that_changed_after_the_extraction_are_refused(customers: Postgres) -> None:
    snapshot = extract("warehouse:staging")
    with customers.connect() as connection:
        connection.execute(f"DELETE FROM staging.{staging_tables(customers)[0]} WHERE id = 'c1'")

    with task_fails(match="contains 1,999 rows, its manifest says 2,000"):
        permit(snapshot)


def test_a_consent_object_in_a_native_column_grants_on_true_only(customers: Postgres) -> None:
    policy = {"categories": [{"id": "C4", "name": "Native", "destinations": ["native"]}]}
    consent = ConsentObject("doc", path="p")

    lake, staged = (
        manifest_of(permit(extract(workspace), policy=policy, consent=consent, destinations=["native"]))
        for workspace in (None, "warehouse:staging")
    )

    assert staged.destinations == lake.destinations
    assert staged.destinations["native"].permitted == 222


def test_tables_of_other_runs_end_with_the_retention_that_the_policy_declares(
    customers: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:officer")
    officer = {"retention": {"staging_tables": {"max_age": "3 days", "number": 1}}}
    monkeypatch.setenv("AIRFLOW_VAR_OFFICER", json.dumps({**POLICY, "officer": officer}))
    with customers.connect() as connection:
        for number, days in enumerate((2.2, 2.1, 4)):
            name = new_name("asked", at=datetime.now(UTC) - timedelta(days=days))
            connection.execute(f"CREATE TABLE staging.{name} AS SELECT {number} AS id")
    drop = DropStagingTablesOperator(task_id="drop", conn_id="pg", schema="staging")

    shown = prune(conn_id="pg", schema="staging", dry_run=True)

    assert [one.reason for one in shown if one.kind == "staging_tables"] == ["number", "age"]
    assert drop.execute({}) == {"dropped": 0, "swept": 1}
    assert [one.reason for one in prune(conn_id="pg", schema="staging")] == ["number"]
    assert len(staging_tables(customers)) == 1


def test_a_teardown_drops_the_tables_of_its_run_and_those_that_are_old(customers: Postgres) -> None:
    left = extract("warehouse:staging")
    snapshot = extract("warehouse:staging")
    permitted = permit(snapshot)
    drop = partial(DropStagingTablesOperator, task_id="drop", conn_id="pg", schema="staging")

    first = drop(snapshot=snapshot, permitted=permitted).execute({})
    second = drop(older_than_s=0, snapshot=snapshot, permitted=permitted).execute({})

    assert first == {"dropped": 5, "swept": 0}
    assert second == {"dropped": 0, "swept": 1}
    assert left is not None
    # What is decided about everyone now is kept for the next run.
    assert ["_recorded_" in name for name in staging_tables(customers)] == [True]


def test_the_manifests_of_a_warehouse_workspace_are_signed_too(customers: Postgres) -> None:
    output = permit(extract("warehouse:staging"))
    manifest = Path(manifest_folder(output["manifest"]).path, "manifest.json")

    assert {(one.kind, one.signature) for one in verify()} == {
        ("snapshot", "signed"),
        ("permitted", "signed"),
        ("decision_records", "signed"),
        ("policy_archive", "signed"),
    }
    forged = changed_by_hand(manifest, policy_digest="0" * 64)

    with pytest.raises(RefusedError, match="has a false signature"):
        permitted_batches({**output, "sha256": forged}, destination="crm", policy=POLICY)
