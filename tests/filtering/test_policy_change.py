"""Tests of a changed policy: its gains and losses are logged, and a limit can stop the run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.permitting import CONSENT, DESTINATIONS, POLICY, AirflowFailException, customers, snapshot_of

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.operators import ConsentFilterOperator
from airflow_consent_retl.storage.folder import Folder

LOOSE: dict[str, Any] = {
    **POLICY,
    "categories": [category for category in POLICY["categories"] if category["id"] != "C0004"],
}


def run(tmp_path: Path, policy: dict[str, Any], *, task_id: str = "consent", **parameters: Any) -> dict[str, Any]:
    _, ref = snapshot_of(Folder.local(tmp_path / f"snapshot-{len(list(tmp_path.iterdir()))}"), customers())
    operator = ConsentFilterOperator(
        task_id=task_id,
        snapshot=ref.to_xcom(),
        policy=policy,
        consent=CONSENT,
        destinations=DESTINATIONS,
        workspace=f"file://{tmp_path}/workspace",
        **parameters,
    )
    ti = SimpleNamespace(dag_id="customers", run_id="manual", task_id=task_id, map_index=-1)
    output: dict[str, Any] = operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    return output


def kept(tmp_path: Path, task_id: str = "consent") -> list[Path]:
    return sorted((tmp_path / "workspace" / "policies" / "customers" / task_id).glob("*.json"))


def logged_by(capfd: pytest.CaptureFixture[str]) -> str:
    """Return the log since the last call, from the first line about a changed policy."""
    return "".join(capfd.readouterr().out.partition("the policy changed")[1:])


def test_a_changed_policy_is_logged_once_with_the_counts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path, POLICY)
    again = run(tmp_path, POLICY)
    assert logged_by(capfd) == ""

    loosened = run(tmp_path, LOOSE)

    logged = logged_by(capfd)
    gained = loosened["permitted"]["ads"] - first["permitted"]["ads"]
    assert gained > 0
    assert f"| `ads` | {first['permitted']['ads']} | {loosened['permitted']['ads']} | {gained} | 0 |" in logged
    assert again["permitted"] == first["permitted"]
    run(tmp_path, LOOSE)
    assert logged_by(capfd) == ""
    assert len(kept(tmp_path)) == 2


def test_a_changed_policy_alone_decides_the_permitted_rows(tmp_path: Path) -> None:
    run(tmp_path, POLICY)

    changed = run(tmp_path, LOOSE)
    alone = run(tmp_path, LOOSE, task_id="another")

    assert changed["permitted"] == alone["permitted"]
    assert changed["rows"] == alone["rows"]


def test_a_policy_that_releases_too_many_stops_the_run_until_it_is_accepted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, POLICY)
    permitted = list((tmp_path / "workspace" / "permitted").rglob("manifest.json"))

    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"max_released_ratio is 0\.1; `ads`: \d of 5 rows are released"):
            run(tmp_path, LOOSE, max_released_ratio=0.1)

    assert list((tmp_path / "workspace" / "permitted").rglob("manifest.json")) == permitted
    assert len(kept(tmp_path)) == 1
    run(tmp_path, LOOSE, max_released_ratio=1.0)
    assert len(kept(tmp_path)) == 2
    run(tmp_path, POLICY, max_released_ratio=0.0)


def test_a_policy_that_cannot_be_compared_stops_the_run_if_there_is_a_limit(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere = {
        **POLICY,
        "categories": [
            *POLICY["categories"],
            {"id": "C0099", "name": "ExternalConsent", "destinations": [DESTINATIONS[0]]},
        ],
    }
    run(tmp_path, {**elsewhere, "missing_consent_column": "deny"})
    strict = {"missing_consent_column": "error"}
    file = kept(tmp_path)[0]
    document = json.loads(file.read_text())

    document["policy"] |= strict
    document["digest"] = parse_policy(document["policy"]).digest
    file.write_text(json.dumps(document))

    with pytest.raises(AirflowFailException, match="the number of rows that the policy releases cannot be computed"):
        run(tmp_path, POLICY, max_released_ratio=0.5)

    assert "its effect on the rows cannot be computed" in logged_by(capfd)
    run(tmp_path, POLICY)


def test_a_history_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    run(tmp_path, POLICY)
    (file,) = kept(tmp_path)
    document = json.loads(file.read_text())

    file.write_text(json.dumps({**document, "digest": "sha256:0"}))

    with pytest.raises(AirflowFailException, match="not the policy that it names"):
        run(tmp_path, POLICY)
