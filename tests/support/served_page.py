"""A server of Airflow with the page, and a workspace whose figures it shows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pyarrow as pa
import pytest
from support.airflow_server import AirflowServer, airflow_server
from support.kept_load import LoadKept
from support.permitting import CONSENT, DESTINATIONS, POLICY, snapshot_of
from support.sync_figures import Sized, write_policies, write_runs

from airflow_consent_retl.operators import ConsentFilterOperator
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import policy_archive

CANARY = "canary9c4e"
PERSON = f"{CANARY}-id-2"
RUN = "scheduled__2026-11-29T09:00:00+00:00"


@dataclass(frozen=True)
class World:
    """A server, with the workspace whose figures it shows."""

    server: AirflowServer
    workspace: Path


@contextmanager
def served_page(folder: Path, database: Path) -> Iterator[World]:
    """Serve 14 syncs with 40 days of runs, and one more, `customers/lake`, that really was loaded.

    A second workspace, `trials`, has the first two of these syncs with runs of their own.

    Args:
        folder: an empty folder for everything.
        database: a metadata database of Airflow with all tables, which is copied.
    """
    workspace = folder / "workspace"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", workspace.as_uri())
        patch.setenv(
            "AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": str(folder / "warehouse.duckdb")})
        )
        load_canaries(folder)
        write_runs(workspace / "ledger.db", Sized(14, 40), at=datetime.now(UTC))
        write_policies(policy_archive(), at=datetime.now(UTC))
    (folder / "trials").mkdir()
    write_runs(folder / "trials" / "ledger.db", Sized(2, 3), at=datetime.now(UTC))
    with airflow_server(
        folder / "home",
        database=database,
        dags=["customers", "leads", "newsletter_readers", "app_users", "shop_orders"],
        paused=["newsletter_readers"],
        AIRFLOW__CONSENT_RETL__WORKSPACE=workspace.as_uri(),
        AIRFLOW__CONSENT_RETL__PAGE_WORKSPACES=json.dumps({"trials": {"workspace": (folder / "trials").as_uri()}}),
        AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED="True",
    ) as server:
        yield World(server, workspace)


def load_canaries(folder: Path) -> None:
    """Load five people, whose every value is a canary, and take one of them back."""
    people = pa.table(
        {
            "id": [f"{CANARY}-id-{number}" for number in range(5)],
            "email": [f"{CANARY}-{number}@example.com" for number in range(5)],
            "analytics_ok": [True, True, True, False, None],
            "ads_ok": [True, False, True, False, None],
        }
    )
    changed = people.set_column(2, "analytics_ok", pa.array([True, True, False, False, None]))
    for rows in (people, changed):
        with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
            connection.register("model", rows)
            connection.execute("CREATE OR REPLACE TABLE customers AS SELECT * FROM model")
        _, ref = snapshot_of(Folder.local(folder / uuid.uuid4().hex), rows)
        output = ConsentFilterOperator(
            task_id="consent", snapshot=ref.to_xcom(), policy=POLICY, consent=CONSENT, destinations=DESTINATIONS
        ).execute({})
        ti = SimpleNamespace(dag_id="customers", run_id=RUN, task_id="load", map_index=-1, try_number=1)
        LoadKept(
            task_id="load", permitted=output, destination="lake", fields={"id": "id", "mail": "email"}, policy=POLICY
        ).execute({"ti": ti, "map_index_template": ""})  # type: ignore[typeddict-item]
