"""Tests of a changed policy: its gains and losses are logged, and a limit can stop the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from support.log_lines import task_fails
from support.permitting import CONSENT, DESTINATIONS, POLICY, customers, snapshot_of

from airflow_consent_retl.consent import parse_policy, policy_document
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import ConsentFilterOperator
from airflow_consent_retl.storage.folder import Folder

LOOSE: dict[str, Any] = {
    **POLICY,
    "categories": [
        category if category["id"] != "C0004" else {**category, "regime": "exempt", "reason": "own use", "owner": "law"}
        for category in POLICY["categories"]
    ],
}


def run(
    tmp_path: Path, policy: dict[str, Any], *, task_id: str = "consent", people: int = 5, **parameters: Any
) -> dict[str, Any]:
    rows = customers()
    many = pa.concat_tables([rows] * (people // rows.num_rows))
    numbered = many.set_column(0, "id", pa.array(range(people), pa.int64()))
    _, ref = snapshot_of(Folder.local(tmp_path / f"snapshot-{len(list(tmp_path.iterdir()))}"), numbered)
    operator = ConsentFilterOperator(
        task_id=task_id,
        snapshot=ref.to_xcom(),
        policy=policy,
        consent=CONSENT,
        **{"destinations": DESTINATIONS, "workspace": f"file://{tmp_path}/workspace", **parameters},
    )
    ti = SimpleNamespace(dag_id="customers", run_id="manual", task_id=task_id, map_index=-1)
    output: dict[str, Any] = operator.execute({"ti": ti})  # type: ignore[typeddict-item]
    return output


def kept(tmp_path: Path, destination: str = "ads") -> list[Path]:
    return sorted((tmp_path / "workspace" / "policies").glob(f"customers/{destination}/*.json"))


def logged_by(capfd: pytest.CaptureFixture[str]) -> str:
    """Return what was logged about a changed policy since the last call, up to the filter's own table."""
    about_policy = "".join(capfd.readouterr().out.partition("the policy changed")[1:])
    return about_policy.partition("consent decided at")[0]


def test_a_changed_policy_is_logged_once_with_the_counts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path, POLICY)
    again = run(tmp_path, POLICY)
    assert logged_by(capfd) == ""

    loosened = run(tmp_path, LOOSE)

    logged = logged_by(capfd)
    gained = loosened["permitted"]["ads"] - first["permitted"]["ads"]
    assert gained > 0
    (row,) = [line.split() for line in logged.splitlines() if line.startswith("ads ")]
    assert row[:5] == ["ads", *map(str, (first["permitted"]["ads"], gained, 0, loosened["permitted"]["ads"]))]
    assert "|" not in logged
    assert max(len(line.partition(" [airflow")[0]) for line in logged.splitlines()) <= 110
    assert again["permitted"] == first["permitted"]
    run(tmp_path, LOOSE)
    assert logged_by(capfd) == ""
    assert len(kept(tmp_path)) == 2


def test_a_changed_policy_alone_decides_the_permitted_rows(tmp_path: Path) -> None:
    run(tmp_path, POLICY)

    changed = run(tmp_path, LOOSE)
    alone = run(tmp_path, LOOSE, workspace=f"file://{tmp_path}/alone")

    assert changed["permitted"] == alone["permitted"]
    assert changed["rows"] == alone["rows"]


def test_a_policy_that_releases_too_many_stops_the_run_until_it_is_accepted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, POLICY)
    permitted = list((tmp_path / "workspace" / "permitted").rglob("manifest.json"))

    for _ in range(2):
        with task_fails(match=r"max_released_ratio is 0\.1; `ads`: \d of 5 rows are released"):
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

    # As an earlier release left it, which recorded no decisions.
    shutil.rmtree(tmp_path / "workspace" / "records")
    document["policy"] |= strict
    document["digest"] = parse_policy(document["policy"]).digest
    file.write_text(json.dumps(document))

    with task_fails(match="the number of rows that the policy releases cannot be computed"):
        run(tmp_path, POLICY, max_released_ratio=0.5)

    assert "its effect on the rows cannot be computed" in logged_by(capfd)
    run(tmp_path, POLICY, max_released_ratio=None)


def test_a_history_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    run(tmp_path, POLICY)
    (file,) = kept(tmp_path)
    document = json.loads(file.read_text())

    file.write_text(json.dumps({**document, "digest": "sha256:0"}))

    with task_fails(match="not the policy under which the run of this time decided"):
        run(tmp_path, POLICY)


def test_a_history_without_records_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    run(tmp_path, POLICY)
    (file,) = kept(tmp_path)
    document = json.loads(file.read_text())
    shutil.rmtree(tmp_path / "workspace" / "records")

    file.write_text(json.dumps({**document, "digest": "sha256:0"}))

    with task_fails(match="not the policy that it names"):
        run(tmp_path, POLICY)


def test_a_history_whose_policy_was_replaced_by_hand_is_refused(tmp_path: Path) -> None:
    run(tmp_path, POLICY)
    (file,) = kept(tmp_path)
    document = json.loads(file.read_text())
    loose = parse_policy(LOOSE)

    file.write_text(json.dumps({**document, "policy": policy_document(loose), "digest": loose.digest}))

    with task_fails(match="not the policy under which the run of this time decided"):
        run(tmp_path, LOOSE)


def test_the_last_policy_belongs_to_the_sync_whatever_the_task_is_called(tmp_path: Path) -> None:
    run(tmp_path, POLICY)

    with task_fails(match=r"max_released_ratio is 0\.1; `ads`: \d of 5 rows are released"):
        run(tmp_path, LOOSE, task_id="renamed", max_released_ratio=0.1)


def test_each_destination_is_compared_with_its_own_last_policy(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, POLICY, destinations=["ads"])
    run(tmp_path, LOOSE, destinations=["webhook"])
    capfd.readouterr()

    run(tmp_path, LOOSE)

    logged = logged_by(capfd)
    assert [line.split()[0] for line in logged.splitlines() if line.startswith(("ads ", "webhook ", "lake "))] == [
        "ads"
    ]


def test_without_a_limit_of_its_own_a_run_releases_five_percent_or_ten_rows(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    run(few, POLICY, people=15)
    run(few, LOOSE, people=15)
    run(many, POLICY, people=100)

    with task_fails(match=r"max_released_ratio is 0\.05 by default, and at least 10 rows; `ads`"):
        run(many, LOOSE, people=100)

    run(many, LOOSE, people=100, max_released_ratio=None)


def test_a_first_run_has_nothing_to_compare(tmp_path: Path) -> None:
    assert run(tmp_path, LOOSE, people=100)["permitted"]["ads"] == 100


@pytest.mark.parametrize("limit", [-0.1, 1.5, "0.5", True, float("nan")])
def test_a_limit_that_is_no_share_is_refused(tmp_path: Path, limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_released_ratio must be a number from 0 to 1"):
        run(tmp_path, POLICY, max_released_ratio=limit)


FELL_OUT: dict[str, dict[str, Any]] = {
    "its category is gone": {"categories": POLICY["categories"][:1]},
    "its category names others": {
        "categories": [POLICY["categories"][0], {"id": "C0004", "name": "Advertising", "destinations": ["webhook"]}]
    },
    "its category is disabled": {
        "categories": [POLICY["categories"][0], {**POLICY["categories"][1], "enabled": False}]
    },
    "its category names all others": {
        "categories": [
            POLICY["categories"][0],
            {"id": "C0004", "name": "Advertising", "destinations": ["webhook", "lake"]},
        ]
    },
}


@pytest.mark.parametrize("task_id", ["consent", "renamed"])
@pytest.mark.parametrize("policy", FELL_OUT.values(), ids=FELL_OUT.keys())
def test_what_was_guarded_at_the_last_run_is_not_open_by_omission(
    tmp_path: Path, policy: dict[str, Any], task_id: str
) -> None:
    run(tmp_path, POLICY)

    for _ in range(2):
        with task_fails(match="destination `ads` required `C0004` at the last run"):
            run(tmp_path, policy, task_id=task_id, max_released_ratio=None)

    assert len(kept(tmp_path)) == 1
    named = {"ads": {"consent": "not_required", "reason": "own staff only"}}
    enabled = [category for category in policy["categories"] if category.get("enabled", True)]
    accepted = run(tmp_path, {**policy, "categories": enabled, "destinations": named}, task_id=task_id)
    assert accepted["permitted"]["ads"] == 5


def test_a_destination_that_fell_out_is_closed_where_unmapped_ones_are_denied(tmp_path: Path) -> None:
    run(tmp_path, POLICY)

    closed = run(tmp_path, {**FELL_OUT["its category is gone"], "unmapped_destinations": "deny"})

    assert closed["permitted"]["ads"] == 0
