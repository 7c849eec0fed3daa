"""A dry run of a load: what it says of an interrupted load, of a mistake and of its own parameter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import task_fails
from support.permitting import CONSENT, POLICY, customers, snapshot_of, warehouse_with

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.errors import DestinationUnavailableError
from airflow_consent_retl.operators import ConsentFilterOperator, LoadOperator
from airflow_consent_retl.storage.folder import Folder


class Desk(Destination):
    """Takes one row a batch, and is closed after some batches."""

    can_remove = True

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.calls = 0

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=1)

    def open(self, load: Load) -> None:
        self.calls += 1

    def send(self, batch: Batch) -> Outcomes:
        self.calls += 1
        self.takes -= 1
        if self.takes < 0:
            raise DestinationUnavailableError("closed")
        return Outcomes.accepted(batch.rows.num_rows)

    def remove(self, batch: Batch) -> Outcomes:
        self.calls += 1
        return Outcomes.accepted(batch.rows.num_rows)


class LoadToDesk(LoadOperator):
    def __init__(self, *, takes: int = 9, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.desk = Desk(takes)

    def build_destination(self) -> Destination:
        return self.desk


@pytest.fixture(autouse=True)
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return warehouse_with(tmp_path, monkeypatch)


def filtered(tmp_path: Path, name: str = "first") -> Any:
    _, ref = snapshot_of(Folder.local(tmp_path / f"snapshot-{name}"), customers())
    return ConsentFilterOperator(
        task_id="consent",
        snapshot=ref.to_xcom(),
        policy=POLICY,
        consent=CONSENT,
        destinations=["lake"],
        workspace=f"file://{tmp_path}/workspace",
    ).execute({})


def load_of(permitted: Any, **parameters: Any) -> LoadToDesk:
    fields = {"id": "id", "mail": "email"}
    settings = {"task_id": "load", "permitted": permitted, "destination": "lake", "fields": fields, "policy": POLICY}
    return LoadToDesk(**{**settings, **parameters})


def test_a_dry_run_calls_nothing_of_a_destination_that_writes_and_makes_no_event(tmp_path: Path) -> None:
    load = load_of(filtered(tmp_path), dry_run="True")

    plan = load.execute({})

    assert (plan["added"], load.desk.calls, load.outlets) == (2, 0, [])
    assert "example.com" not in json.dumps(plan)
    assert not (tmp_path / "workspace" / "ledger.db").exists()
    assert not (tmp_path / "workspace" / "syncs").exists()


def test_a_load_that_did_not_end_is_told_of_in_the_plan_of_the_next(tmp_path: Path) -> None:
    permitted = filtered(tmp_path)
    with pytest.raises(DestinationUnavailableError):
        load_of(permitted, takes=1).execute({})

    resumed = load_of(permitted, dry_run=True).execute({})
    other = load_of(filtered(tmp_path, "second"), dry_run=True).execute({})
    counts = load_of(permitted).execute({})

    assert resumed["notes"][0].startswith("a run would resume the load that an earlier try began at")
    assert other["notes"][0].startswith("a delivery that began at")
    assert resumed["accepted"] == counts["accepted"] == 2


def test_a_mistake_fails_the_dry_run_as_it_fails_the_run_and_tells_what_would_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    permitted = filtered(tmp_path)
    load_of(permitted).execute({})
    rows = customers()
    withdrawn = rows.set_column(2, "analytics_ok", [[False, *rows["analytics_ok"].to_pylist()[1:]]])
    warehouse_with(tmp_path, monkeypatch, withdrawn)
    load = load_of(permitted, fields={"id": "id", "mail": "emial"}, dry_run=True)

    with task_fails() as failed:
        load.execute({})

    assert "emial" in str(failed.value)
    assert "would be removed first, since a removal needs only the key: 1 person" in str(failed.value)
    assert load.desk.calls == 0


def test_what_dry_run_says_is_never_guessed(tmp_path: Path) -> None:
    with task_fails(match="dry_run is True or False, or a template"):
        load_of(None, dry_run="{{ params.dry }}").execute({})
