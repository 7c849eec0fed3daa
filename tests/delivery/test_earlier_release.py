"""A workspace and a ledger that an earlier release wrote: today's code continues their sync."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.syncing import Recorder

from airflow_consent_retl.delivery.attempts import BatchKind
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadOperator
from airflow_consent_retl.storage.delivered import DeliveredState
from airflow_consent_retl.storage.location import sync_folder

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Destination

FIXTURE = Path(__file__).parents[1] / "support" / "fixtures" / "workspace_6d3a198"
ROOT = "/srv/consent_retl"
SYNC = sync_name("people", "crm")
POLICY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm"]}],
}
FIRST = {id_ for id_ in range(1, 21) if id_ % 5}
SECOND = FIRST - {1, 2, 3} | set(range(21, 27))
CHANGED = {4, 6, 7, 8}
# Of the second run: what its load, which was left open, had to send.
TO_SEND = {id_: f"new{id_}@example.com" for id_ in CHANGED} | {id_: f"person{id_}@example.com" for id_ in range(21, 27)}


class Crm(Recorder):
    """The destination that the earlier release delivered to."""

    target = "crm.example.com"


class LoadToCrm(LoadOperator):
    def __init__(self, *, crm: Crm, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._crm = crm

    def build_destination(self) -> Destination:
        return self._crm


class Written:
    """The workspace of the earlier release, and a source whose people the test decides."""

    def __init__(self, path: Path) -> None:
        self.workspace = f"file://{path}/workspace"
        self.source = path / "source.db"
        with tarfile.open(FIXTURE / "workspace.tar.gz") as archive:
            archive.extractall(path / "workspace", filter="data")
        permitted = (path / "workspace" / "permitted.json").read_text()
        self.permitted = json.loads(permitted.replace(ROOT, f"{path}/workspace"))
        self.digest_key = (path / "workspace" / "digest.key").read_text()

    def people(self, rows: dict[int, tuple[str, bool | None]]) -> None:
        with sqlite3.connect(self.source) as connection:
            connection.execute("DROP TABLE IF EXISTS people")
            connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, ads_ok)")
            connection.executemany("INSERT INTO people VALUES (?, ?, ?)", [(id_, *row) for id_, row in rows.items()])
        connection.close()

    def filtered(self) -> dict[str, object]:
        """Extract and filter with today's code."""
        snapshot = ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id="people",
            sql="SELECT id, email, ads_ok FROM people",
            primary_key="id",
            column_types={"id": "int64", "email": "string", "ads_ok": "bool"},
            workspace=self.workspace,
        ).execute({})
        output: dict[str, object] = ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=POLICY,
            consent={"C0004": "ads_ok"},
            destinations=["crm"],
            workspace=self.workspace,
        ).execute({})
        return output

    def load(self, permitted: object, crm: Crm) -> dict[str, Any]:
        counts: dict[str, Any] = LoadToCrm(
            crm=crm,
            task_id="load",
            permitted=permitted,
            destination="crm",
            fields={"id": "id", "email": "email"},
            policy=POLICY,
            settle_s=0,
            workspace=self.workspace,
        ).execute({})
        return counts

    def delivered(self) -> set[int]:
        """Return the ids of the present version of the delivered state."""
        with open_ledger(self.workspace) as ledger:
            current = ledger.current(SYNC)
        assert current is not None
        state = DeliveredState(sync_folder(self.workspace, SYNC).open(current.uri), sha256=current.sha256)
        return {id_ for ids in state.ids() for id_ in ids.to_pylist()}


def second_run() -> dict[int, tuple[str, bool | None]]:
    """Return the people as they were when the earlier release began its second load."""
    return {id_: (TO_SEND.get(id_, f"person{id_}@example.com"), True) for id_ in sorted(SECOND)}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    found = Written(tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE", json.dumps({"conn_type": "sqlite", "host": str(found.source)}))
    # The old filter's manifest names its workspace by the place where it was, which has no key file now.
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", found.digest_key)
    return found


def emails(crm: Crm) -> dict[int, str]:
    return {row["id"]: row["email"] for batch in crm.batches for row in batch.rows.to_pylist()}


def test_the_delivered_state_and_the_open_delivery_of_an_earlier_release_are_read(written: Written) -> None:
    with open_ledger(written.workspace) as ledger:
        (overview,) = ledger.syncs()
        delivery = overview.open_delivery
        assert delivery is not None
        attempts = ledger.attempts(delivery)

    assert written.delivered() == FIRST
    assert overview.target == "crm.example.com"
    assert [attempt.outcomes is None for attempt in attempts if attempt.kind is BatchKind.REMOVE] == [False]
    assert [attempt.outcomes is None for attempt in attempts if attempt.kind is BatchKind.SEND] == [True, True, True]


def test_the_next_try_resumes_a_load_that_an_earlier_release_left_open(written: Written) -> None:
    written.people(second_run())
    with open_ledger(written.workspace) as ledger:
        delivery = ledger.syncs()[0].open_delivery
        assert delivery is not None
        keys = [attempt.key for attempt in ledger.attempts(delivery) if attempt.kind is BatchKind.SEND]
    crm = Crm()

    counts = written.load(written.permitted, crm)

    assert emails(crm) == TO_SEND
    assert [batch.key for batch in crm.batches] == keys
    # The removal was answered before the worker died.
    assert crm.removed_ids == []
    assert (counts["added"], counts["updated"], counts["unchanged"], counts["accepted"]) == (6, 4, 9, 10)
    assert (counts["removed"], counts["not_removed"]) == (3, 0)
    assert written.delivered() == SECOND
    with open_ledger(written.workspace) as ledger:
        assert ledger.syncs()[0].open_delivery is None


def test_a_new_run_resolves_a_load_that_an_earlier_release_left_open(written: Written) -> None:
    # Since then 9 and 21 have withdrawn, 11 has another e-mail, 22 has left the model.
    people = second_run() | {9: ("person9@example.com", False), 21: ("person21@example.com", False)}
    people |= {11: ("other@example.com", True)}
    del people[22]
    written.people(people)
    crm = Crm()

    counts = written.load(written.filtered(), crm)

    # It is not known which rows of the open load arrived: they are sent again, and 21 and 22 are removed.
    assert emails(crm) == {id_: email for id_, email in TO_SEND.items() if id_ not in {21, 22}} | {
        11: "other@example.com"
    }
    assert crm.removed_ids == [9, 21, 22]
    assert counts["removed"] == 3
    assert written.delivered() == SECOND - {9, 21, 22}


def test_a_run_after_the_resumed_load_finds_nothing_to_do(written: Written) -> None:
    written.people(second_run())
    written.load(written.permitted, Crm())
    crm = Crm()

    counts = written.load(written.filtered(), crm)

    assert crm.calls == []
    assert (counts["unchanged"], counts["accepted"], counts["removed"]) == (19, 0, 0)
