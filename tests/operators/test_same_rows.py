"""A filter of the same rows with the same decisions uses the files of the run before, and only then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.permitting import CONSENT, DESTINATIONS, KEY, POLICY, changed_by_hand, customers, snapshot_of

from airflow_consent_retl.consent import RowConsent
from airflow_consent_retl.hooks.forgotten_list import suppression_list
from airflow_consent_retl.operators import ConsentFilterOperator
from airflow_consent_retl.reports.recorded_decisions import recorded_decisions
from airflow_consent_retl.storage import OpenedPermitted, open_permitted
from airflow_consent_retl.storage.decision_log import find_decisions
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import decisions_folder, subject_key
from airflow_consent_retl.storage.records.documents import DecisionRecords
from airflow_consent_retl.storage.records.stream import RecordStream
from airflow_consent_retl.storage.records.subjects import RecordedPerson, RecordKey

USED_AGAIN = "its files are used again"


class Runs:
    """Filter runs of one workspace, each over an extraction of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._runs = 0

    @property
    def workspace(self) -> str:
        return f"file://{self.path}/workspace"

    def filter(self, rows: pa.Table | None = None, **parameters: Any) -> OpenedPermitted:
        self._runs += 1
        folder = Folder.local(self.path / f"snapshot-{self._runs}")
        _, ref = snapshot_of(folder, customers() if rows is None else rows)
        operator = ConsentFilterOperator(
            **{
                "task_id": "consent",
                "snapshot": ref.to_xcom(),
                "policy": POLICY,
                "consent": CONSENT,
                "destinations": DESTINATIONS,
                "workspace": self.workspace,
                **parameters,
            }
        )
        return open_permitted(operator.execute({}))

    def records(self, destinations: list[str] = DESTINATIONS) -> list[DecisionRecords]:
        stream = RecordStream(decisions_folder(self.workspace, "customers", destinations), DecisionRecords)
        return [stream.read(name) for name in stream.names()]

    def history(self, subject: int) -> list[tuple[int, str, str]]:
        """Return, for the ads, the run of each change of a person with the decision before and after."""
        stream = RecordStream(decisions_folder(self.workspace, "customers", DESTINATIONS), DecisionRecords)
        person = RecordedPerson.of(subject, [RecordKey(subject_key(self.workspace))])
        found = recorded_decisions(stream, person, verify=True)
        return [(one.run, one.before, one.decision) for one in found if one.destination == "ads"]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def files(opened: OpenedPermitted) -> dict[str, int]:
    """Return the number of each file on the disk: files with the same number are one file."""
    paths = Path(opened.folder.path).glob("*.parquet")
    return {path.name: path.stat().st_ino for path in paths}


def rows_of(opened: OpenedPermitted) -> dict[tuple[str, ...], list[int]]:
    return {group.recipients: list(_ids(opened, group.parts)) for group in opened.manifest.groups}


def _ids(opened: OpenedPermitted, parts: Any) -> Iterator[int]:
    for part in parts:
        opened.folder.verify(part)
    for batch in opened.folder.read_rows(parts, columns=["id"], batch_rows=100):
        yield from batch.column(0).to_pylist()


def answers(**changes: bool) -> pa.Table:
    """Return the five customers, some with another answer to advertising: `c4=True`."""
    rows = customers()
    ads = rows["ads_ok"].to_pylist()
    for name, answer in changes.items():
        ads[int(name[1:]) - 1] = answer
    return rows.set_column(rows.schema.get_field_index("ads_ok"), "ads_ok", pa.array(ads))


def test_the_same_rows_and_decisions_are_the_same_files_under_a_manifest_of_their_own(
    runs: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    first = runs.filter()
    assert USED_AGAIN not in capfd.readouterr().out

    second = runs.filter()

    assert USED_AGAIN in capfd.readouterr().out
    assert files(first) == files(second) != {}
    assert rows_of(first) == rows_of(second)
    assert second.manifest.snapshot_sha256 != first.manifest.snapshot_sha256
    assert second.manifest.decided_at > first.manifest.decided_at
    assert second.manifest.destinations == first.manifest.destinations


def test_the_records_go_on_where_files_are_used_again(runs: Runs) -> None:
    runs.filter()
    runs.filter()
    runs.filter(answers(c4=True))
    runs.filter(answers(c4=True))
    runs.filter()

    assert [(one.rows, one.people, one.number) for one in runs.records()] == [
        (5, 5, 1),
        (0, 5, 2),
        (1, 5, 3),
        (0, 5, 4),
        (1, 5, 5),
    ]
    assert runs.history(4) == [
        (1, "not_in_model", "denied"),
        (3, "denied", "permitted"),
        (5, "permitted", "denied"),
    ]
    states = list(Path(decisions_folder(runs.workspace, "customers", DESTINATIONS).path).glob("*-state.numbers"))
    assert len(states) == 1


def test_the_files_outlive_the_run_that_wrote_them(runs: Runs) -> None:
    first = runs.filter()
    second = runs.filter()
    expected = rows_of(first)

    first.folder.remove()

    assert rows_of(second) == expected
    log = find_decisions(second.folder, second.manifest, subject_key(runs.workspace), 4)
    assert [sorted(entry.denied) for entry in log] == [["ads", "lake", "webhook"]]
    third = runs.filter()
    assert files(third) == files(second)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(answers(c1=False), id="one no"),
        pytest.param(answers(c1=False, c4=True), id="two exchanged their answers"),
        pytest.param(customers().take([1, 0, 2, 3, 4]), id="another order"),
        pytest.param(customers().slice(0, 4), id="one less"),
        pytest.param(customers().set_column(1, "email", pa.array(["z@example.com"] * 5)), id="another value"),
    ],
)
def test_whatever_changed_in_the_rows_is_written(runs: Runs, rows: pa.Table) -> None:
    first, second = runs.filter(), runs.filter(rows)

    assert not set(files(first).values()) & set(files(second).values())
    assert rows_of(second) == rows_of(Runs(runs.path / "alone").filter(rows))


def test_a_policy_that_decides_otherwise_is_written(runs: Runs) -> None:
    first = runs.filter()
    analytics, ads = POLICY["categories"]

    second = runs.filter(policy={"categories": [analytics | {"destinations": ["lake"]}, ads]})

    assert not set(files(first).values()) & set(files(second).values())
    assert rows_of(second)[("ads", "webhook")] == [2]


def test_a_policy_with_other_words_only_decides_the_same_and_is_named(runs: Runs) -> None:
    first = runs.filter()
    policy = {"categories": [category | {"name": f"New {category['name']}"} for category in POLICY["categories"]]}

    second = runs.filter(policy=policy)

    assert files(first) == files(second)
    assert second.manifest.policy_digest != first.manifest.policy_digest


def test_other_destinations_have_other_files(runs: Runs) -> None:
    first, second = runs.filter(), runs.filter(destinations=["ads", "lake"])

    assert not set(files(first).values()) & set(files(second).values())
    assert runs.records(["ads", "lake"])[-1].number == 1


def test_consent_that_ran_out_since_then_is_no_consent_although_nothing_changed(runs: Runs) -> None:
    analytics, ads = POLICY["categories"]
    given = datetime.now(UTC) - timedelta(days=1)
    runs_out = given + timedelta(seconds=3)
    times = pa.array([given + timedelta(hours=1), given + timedelta(seconds=3)], pa.timestamp("us", "UTC"))
    rows = pa.table(
        {"id": [1, 2], "email": ["x", "y"], "analytics_ok": [True, True], "ads_ok": [True, True], "asked_at": times}
    )
    same = {
        "policy": {"categories": [analytics, ads | {"max_age": "1 day"}]},
        "consent": RowConsent(CONSENT, time="asked_at"),
    }
    first, again = runs.filter(rows, **same), runs.filter(rows, **same)
    time.sleep(max(0.0, (runs_out + timedelta(days=1) - datetime.now(UTC)).total_seconds()))

    later = runs.filter(rows, **same)

    assert files(first) == files(again)
    assert rows_of(again) == {("ads", "lake", "webhook"): [1, 2]}
    assert rows_of(later) == {("ads", "lake", "webhook"): [1], ("lake",): [2]}


def test_a_person_who_was_forgotten_since_then_is_denied(runs: Runs) -> None:
    first = runs.filter()
    forgotten = suppression_list(runs.workspace)
    forgotten.forget(forgotten.people(["1"]), models=None, by="a test")

    second = runs.filter()

    assert [1] in rows_of(first).values()
    assert all(1 not in ids for ids in rows_of(second).values())


def _remove(path: Path) -> None:
    path.unlink()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("harm", [_remove, _flip])
@pytest.mark.parametrize("kind", ["group", "decisions", "signatures"])
def test_files_that_are_gone_or_changed_are_written_again(runs: Runs, harm: Any, kind: str) -> None:
    first = runs.filter()
    expected = rows_of(first)
    harm(next(Path(first.folder.path).glob(f"{kind}*.parquet")))

    second = runs.filter()

    assert rows_of(second) == expected
    log = find_decisions(second.folder, second.manifest, subject_key(runs.workspace), 4)
    assert [sorted(entry.denied) for entry in log] == [["ads", "lake", "webhook"]]
    assert not set(files(first).values()) & set(files(second).values())


def test_a_manifest_that_someone_else_wrote_is_not_believed(runs: Runs) -> None:
    first = runs.filter()
    manifest = Path(first.folder.path) / "manifest.json"
    groups = [group.model_dump(mode="json") | {"recipients": DESTINATIONS} for group in first.manifest.groups]
    changed_by_hand(manifest, groups=groups)

    second = runs.filter()

    assert rows_of(second)[("lake",)] == [3]
    assert not set(files(first).values()) & set(files(second).values())


def test_a_state_that_is_gone_has_everyone_recorded_again(runs: Runs) -> None:
    first = runs.filter()
    (last,) = runs.records()
    assert last.state is not None
    decisions_folder(runs.workspace, "customers", DESTINATIONS).remove_file(last.state.file)

    second = runs.filter()

    assert files(first) == files(second)
    assert [(one.rows, one.people) for one in runs.records()] == [(5, 5), (5, 5)]


def test_only_the_last_run_is_used_again(runs: Runs) -> None:
    first = runs.filter()
    runs.filter(answers(c4=True))

    third = runs.filter()

    assert not set(files(first).values()) & set(files(third).values())
    assert runs.history(4)[-1] == (3, "permitted", "denied")


def test_another_key_has_another_decision_log(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    first = runs.filter()
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "another secret of more than 32 characters")

    second = runs.filter()

    assert KEY.key_id not in {first.manifest.decision_log.key_id, second.manifest.decision_log.key_id}
    assert first.manifest.decision_log.key_id != second.manifest.decision_log.key_id
    assert not set(files(first).values()) & set(files(second).values())
