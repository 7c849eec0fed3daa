"""In object storage too, runs that find nothing new use the files of the run before again: as copies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.object_storage import running_storage
from support.permitting import CONSENT, DESTINATIONS, POLICY, customers

from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator
from airflow_consent_retl.storage import open_permitted, open_snapshot


@pytest.mark.long
@pytest.mark.parametrize("kind", ["gs", "s3"])
def test_runs_that_find_nothing_new_copy_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    file = tmp_path / "warehouse.duckdb"
    people = customers()
    with duckdb.connect(str(file)) as connection:
        connection.register("model", people)
        connection.execute("CREATE TABLE people AS SELECT * FROM model")
    monkeypatch.setenv("AIRFLOW_CONN_MODEL", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "a secret of these tests, of 32 characters")
    with running_storage(kind) as storage:
        for name, value in storage.environment.items():
            monkeypatch.setenv(name, value)

        def run() -> tuple[dict[str, Any], dict[str, Any]]:
            snapshot = ExtractModelOperator(
                task_id="extract",
                model="customers",
                conn_id="model",
                sql="SELECT * FROM people ORDER BY id",
                primary_key="id",
                reuse_unchanged=True,
                workspace=storage.uri,
            ).execute({})
            permitted = ConsentFilterOperator(
                task_id="consent",
                snapshot=snapshot,
                policy=POLICY,
                consent=CONSENT,
                destinations=DESTINATIONS,
                workspace=storage.uri,
            ).execute({})
            return snapshot, permitted

        first, again = run(), run()
        before, after = open_snapshot(first[0]), open_snapshot(again[0])
        allowed_before, allowed = open_permitted(first[1]), open_permitted(again[1])
        before.folder.remove()
        allowed_before.folder.remove()
        third = run()

        parts = [part for group in allowed.manifest.groups for part in group.parts]
        for part in parts:
            allowed.folder.verify(part)
        ids = [batch.column("id").to_pylist() for batch in allowed.folder.read_rows(parts, batch_rows=10)]
        for part in after.manifest.parts:
            after.folder.verify(part)

    assert sorted(one for some in ids for one in some) == [1, 2, 3]
    assert allowed.manifest.groups == allowed_before.manifest.groups
    assert third[1]["permitted"] == again[1]["permitted"]
    assert capfd.readouterr().out.count("its files are used again") == 4
