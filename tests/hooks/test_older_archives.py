"""An archive of policies that was lost, or restored from an older backup, is noticed by a ledger that saw more."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import unwrapped
from support.postgres import Postgres, postgres

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.approving import approve
from airflow_consent_retl.hooks.ledgers import ledger_copy, open_ledger
from airflow_consent_retl.hooks.policies import policy_in_force
from airflow_consent_retl.hooks.upkeep import adopt
from airflow_consent_retl.storage.location import policy_archive_folder
from airflow_consent_retl.storage.policy_archive import proofs_in

__all__ = ["postgres"]

PLACE = "variable:consent_policy"
ADS: dict[str, Any] = {"id": "C0004", "name": "Advertising", "destinations": ["webhook"]}
ANALYTICS: dict[str, Any] = {"id": "C0002", "name": "Analytics", "destinations": ["webhook"]}
BOTH = {"unmapped_destinations": "deny", "categories": [ADS, ANALYTICS]}
ONE = {"unmapped_destinations": "deny", "categories": [ADS]}
GONE = "the policy archive .* lacks records that the ledger saw"


class Deployment:
    """A workspace with its archive of policies, and a ledger."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, ledger_conn_id: str | None) -> None:
        self.workspace = path / "workspace"
        self.archive = self.workspace / "policy_archive"
        self.ledger_conn_id = ledger_conn_id
        self._monkeypatch = monkeypatch

    def publish(self, document: dict[str, Any]) -> str:
        """Approve a policy, and have a run read it."""
        self._monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(document))
        approve(PLACE, digest=parse_policy(document).digest, by="Ida Officer")
        return self.read()

    def read(self) -> str:
        """Have a run read the policy."""
        return policy_in_force(PLACE).policy.digest

    def open(self) -> None:
        """Open the ledger, as each load does."""
        open_ledger(None, self.ledger_conn_id).close()

    def backed_up(self, name: str) -> Path:
        """Copy the archive."""
        return Path(shutil.copytree(self.archive, self.workspace.parent / name))

    def restored(self, backup: Path) -> None:
        """Put a backup in the place of the archive."""
        shutil.rmtree(self.archive)
        shutil.copytree(backup, self.archive)


@pytest.fixture(params=["sqlite", "postgres"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "True")
    if request.param == "sqlite":
        return Deployment(tmp_path, monkeypatch, None)
    server: Postgres = request.getfixturevalue("postgres")
    monkeypatch.setenv("AIRFLOW_CONN_THE_LEDGER", server.airflow_connection())
    return Deployment(tmp_path, monkeypatch, "the_ledger")


def emptied(deployment: Deployment) -> None:
    shutil.rmtree(deployment.archive)


def restored_from_before_the_last_policy(deployment: Deployment) -> None:
    deployment.restored(deployment.workspace.parent / "older")


def without_a_place(deployment: Deployment) -> None:
    shutil.rmtree(deployment.archive / "places")


def without_the_approvals_of_the_first_policy(deployment: Deployment) -> None:
    oldest = min(deployment.archive.glob("approvals/*/2*.json"), key=lambda path: path.name)
    shutil.rmtree(oldest.parent)


def refilled_by_later_runs(deployment: Deployment) -> None:
    emptied(deployment)
    for _ in range(3):
        deployment.publish(BOTH)
        deployment.publish(ONE)


LOSSES: list[Callable[[Deployment], None]] = [
    emptied,
    restored_from_before_the_last_policy,
    without_a_place,
    without_the_approvals_of_the_first_policy,
    refilled_by_later_runs,
]


@pytest.fixture
def seen(deployment: Deployment) -> Deployment:
    """A deployment whose ledger saw two policies; its backup has the first one only."""
    deployment.publish(BOTH)
    deployment.open()
    deployment.backed_up("older")
    deployment.publish(ONE)
    deployment.open()
    deployment.backed_up("newest")
    return deployment


@pytest.mark.parametrize("lose", LOSSES)
def test_a_load_stops_where_policies_need_an_approval(seen: Deployment, lose: Callable[[Deployment], None]) -> None:
    lose(seen)

    with pytest.raises(ConfigurationError, match=GONE):
        seen.open()
    with pytest.raises(ConfigurationError, match=GONE), ledger_copy(None, seen.ledger_conn_id):
        pass
    # It stays noticed, also when runs have filled the archive again.
    with pytest.raises(ConfigurationError, match="adopt`, and approve again what has to be in force"):
        seen.open()


@pytest.mark.parametrize("lose", LOSSES)
def test_each_run_warns_where_no_policy_needs_an_approval(
    seen: Deployment,
    lose: Callable[[Deployment], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lose(seen)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "False")

    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            seen.open()
        assert "lacks records that the ledger saw" in unwrapped(caplog.text)
        assert "Restore its newest backup" in unwrapped(caplog.text)


def test_the_newest_backup_is_whole(seen: Deployment) -> None:
    emptied(seen)
    with pytest.raises(ConfigurationError, match=GONE):
        seen.open()

    shutil.copytree(seen.workspace.parent / "newest", seen.archive)

    seen.open()


@pytest.mark.parametrize("lose", LOSSES)
def test_an_archive_that_is_declared_whole_is_watched_from_then_on(
    seen: Deployment, lose: Callable[[Deployment], None], caplog: pytest.LogCaptureFixture
) -> None:
    lose(seen)

    with caplog.at_level(logging.WARNING):
        adopt(ledger_conn_id=seen.ledger_conn_id)
    seen.open()

    if lose is not without_the_approvals_of_the_first_policy:
        assert "the policy archive counts as whole from now on" in unwrapped(caplog.text)
    seen.publish(BOTH)
    seen.open()
    emptied(seen)
    with pytest.raises(ConfigurationError, match=GONE):
        seen.open()


def test_proofs_of_a_worker_whose_clock_is_behind_are_no_loss(seen: Deployment) -> None:
    (place,) = (seen.archive / "places").iterdir()
    newest = max(place.glob("2*.json"))
    shutil.copy(newest, place / "20200101t000000000000-00000000.json")

    seen.open()

    assert proofs_in(policy_archive_folder())[0] == "20200101t000000000000-00000000.json"


def test_a_deployment_without_any_policy_has_nothing_to_lose(deployment: Deployment) -> None:
    deployment.open()
    deployment.open()

    adopt(ledger_conn_id=deployment.ledger_conn_id)
    deployment.open()


def test_the_ledger_has_counts_and_names_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    deployment = Deployment(tmp_path, monkeypatch, None)
    deployment.publish(ONE)
    deployment.open()

    with closing(sqlite3.connect(deployment.workspace / "ledger.db")) as ledger:
        ((uri, proofs, newest),) = ledger.execute("SELECT * FROM consent_retl_archives").fetchall()
    assert uri == deployment.archive.as_uri()
    assert proofs == 2
    assert newest == proofs_in(policy_archive_folder())[-1]
