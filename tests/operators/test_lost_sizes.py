"""Sizes of consent sources that the workspace lost, or that are older: records and ledger notice who shrank."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.crm_sync import CrmSync
from support.log_lines import task_fails, unwrapped

from airflow_consent_retl.consent import ConsentSource, ExternalConsent, IdentityLinks, SuppressionList
from airflow_consent_retl.hooks.upkeep import hand_over
from airflow_consent_retl.storage.location import open_folder
from airflow_consent_retl.storage.records.documents import DecisionRecords
from airflow_consent_retl.storage.source_sizes import RecordedSizes

SHRANK = r"it has 5 rows with a key, and had 10 at the model's last extraction"
UNNOTICED = r"has 5 rows with a key, and had 10 for the data that were delivered last.*could not notice it"
YES = (1, 2, 3)


def listed(ratio: float) -> ExternalConsent:
    return SuppressionList("SELECT person FROM never", subject="person", key="id", max_shrink_ratio=ratio)


def answered(ratio: float) -> ExternalConsent:
    sql = "SELECT person, answer FROM never"
    types = {"person": "int64", "answer": "bool"}
    return ConsentSource(
        sql,
        subject="person",
        key="id",
        columns=["answer"],
        column_types=types,
        require_match=False,
        max_shrink_ratio=ratio,
    )


SOURCES: dict[str, Callable[[float], ExternalConsent]] = {"list": listed, "source": answered}


class ListedSync(CrmSync):
    """A sync with a table of other people, which is a consent source."""

    declared: Callable[[float], ExternalConsent] = staticmethod(listed)

    def others(self, number: int) -> None:
        """Have the table hold this number of people, no one of them in the model."""
        with closing(sqlite3.connect(self.path / "source.db")) as connection:
            connection.execute("DROP TABLE IF EXISTS never")
            connection.execute("CREATE TABLE never (person INTEGER, answer INTEGER)")
            connection.executemany("INSERT INTO never VALUES (?, 1)", [(one,) for one in range(100, 100 + number)])
            connection.commit()

    def extract(self, ratio: float = 0.2, *, model: str = "people") -> Any:
        """Extract with the table as a source."""
        self.consent_sources = [self.declared(ratio)]
        return self.extracted(model=model)

    def run(self, ratio: float = 0.2, *, model: str = "people", **options: Any) -> Any:
        """Extract, filter and load."""
        return self.load_permitted(self.decided(self.extract(ratio, model=model)), **options)

    def fast_lane(self) -> Any:
        """Propagate withdrawals, with the table as a source."""
        self.consent_sources = [self.declared(0.2)]
        return self.withdraw()

    @property
    def sizes(self) -> Path:
        """The file of sizes."""
        return self.folder / "source_sizes" / "people" / "sizes.json"

    def lose(self, *names: str) -> None:
        """Delete folders of the workspace."""
        for name in names:
            shutil.rmtree(self.folder / name)


@pytest.fixture
def sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ListedSync:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    made = ListedSync(tmp_path, monkeypatch)
    made.people(*YES)
    return made


def lost(sync: ListedSync) -> None:
    sync.sizes.unlink()


def folder_lost(sync: ListedSync) -> None:
    sync.lose("source_sizes")


def of_an_older_backup(sync: ListedSync) -> None:
    shutil.copy(sync.path / "older.json", sync.sizes)


def of_an_earlier_release(sync: ListedSync) -> None:
    (size,) = json.loads(sync.sizes.read_bytes())["sizes"]
    sync.sizes.write_text(json.dumps([{"column": size["column"], "query": size["query"], "rows": 4}]))


LOSSES = [lost, folder_lost, of_an_older_backup, of_an_earlier_release]


def filled(sync: ListedSync, lose: Callable[[ListedSync], None], run: Callable[[], object]) -> None:
    """Run with 4 others and with 10, and lose the sizes."""
    sync.others(4)
    sync.extract()
    shutil.copy(sync.sizes, sync.path / "older.json")
    sync.others(10)
    run()
    lose(sync)


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("declared", SOURCES.values(), ids=SOURCES)
def test_an_extraction_compares_with_the_size_in_the_record_of_the_last_filter(
    sync: ListedSync, declared: Callable[[float], ExternalConsent], lose: Callable[[ListedSync], None]
) -> None:
    sync.declared = declared
    filled(sync, lose, lambda: sync.decided(sync.extract()))
    sync.others(5)

    for _ in range(2):
        with task_fails(match=SHRANK):
            sync.extract()


def test_a_lost_size_is_logged_and_written_again(sync: ListedSync, capfd: pytest.CaptureFixture[str]) -> None:
    filled(sync, folder_lost, lambda: sync.decided(sync.extract()))
    capfd.readouterr()

    sync.others(9)
    sync.extract()
    assert "source_sizes/people does not have its size of" in unwrapped(capfd.readouterr().out)

    sync.extract()
    assert "does not have its size" not in unwrapped(capfd.readouterr().out)


@pytest.mark.samples(2)
@pytest.mark.parametrize("lose", LOSSES)
def test_a_load_compares_with_the_ledger_where_the_records_are_lost_too(
    sync: ListedSync, lose: Callable[[ListedSync], None]
) -> None:
    filled(sync, lose, sync.run)
    sync.lose("records")
    sync.others(5)

    for is_dry in (False, True, False):
        with task_fails(match=UNNOTICED):
            sync.run(dry_run=is_dry)

    sync.others(8)
    assert sync.run()["unchanged"] == 3


def test_the_fast_lane_compares_with_the_ledger_too(sync: ListedSync) -> None:
    filled(sync, folder_lost, sync.run)
    sync.lose("records")
    sync.others(5)

    with task_fails(match=SHRANK):
        sync.fast_lane()

    sync.others(8)
    assert sync.fast_lane()["removed"] == 0


def test_a_sync_with_a_new_name_knows_the_sizes_of_its_sources(sync: ListedSync) -> None:
    filled(sync, lambda sync: None, sync.run)
    hand_over("people/crm", to="persons/crm")
    sync.others(5)

    with task_fails(match=UNNOTICED):
        sync.run(model="persons")


def test_a_shorter_source_is_accepted_by_one_run_with_the_share_of_one(sync: ListedSync) -> None:
    filled(sync, folder_lost, sync.run)
    sync.lose("records")
    sync.others(5)

    assert sync.run(1)["unchanged"] == 3
    assert sync.run()["unchanged"] == 3
    sync.others(3)
    with task_fails(match="it has 3 rows with a key, and had 5"):
        sync.run()


def test_an_extraction_alone_may_accept_it(sync: ListedSync) -> None:
    filled(sync, lambda sync: None, sync.run)
    sync.others(5)
    sync.extract(1)

    assert sync.run()["unchanged"] == 3


@pytest.mark.parametrize("is_signed", [True, False])
def test_sizes_that_someone_else_wrote_are_refused(sync: ListedSync, *, is_signed: bool) -> None:
    filled(sync, lambda sync: None, sync.extract)
    document = json.loads(sync.sizes.read_bytes())
    document["sizes"][0]["rows"] = 5
    if not is_signed:
        del document["signature"]
    sync.sizes.write_text(json.dumps(document, indent=2))
    sync.others(5)

    with task_fails(match=r"sizes\.json .*(is not signed|has a false signature)"):
        sync.extract()


def test_links_between_people_have_a_size_too(sync: ListedSync) -> None:
    def links(ratio: float) -> ExternalConsent:
        sql = "SELECT person, person AS known FROM never"
        return IdentityLinks(
            sql, subject="person", identifier="known", key="id", require_match=False, max_shrink_ratio=ratio
        )

    sync.declared = links
    filled(sync, lost, lambda: sync.decided(sync.extract()))
    sync.others(5)

    with task_fails(match="it has 5 rows with a key, and had 10"):
        sync.extract()


def test_many_extractions_without_a_load_may_lose_more_together(sync: ListedSync) -> None:
    filled(sync, lambda sync: None, sync.run)
    for number in (9, 8, 7, 6):
        sync.others(number)
        sync.extract()

    assert sync.run()["unchanged"] == 3


@pytest.mark.parametrize("place", ["file", "records", "ledger"])
def test_a_size_that_was_read_under_a_clock_that_was_ahead_is_replaced(sync: ListedSync, place: str) -> None:
    """Sizes of the future are forged here by the deployment's own functions, as a wrong clock would write them."""
    filled(sync, lambda sync: None, sync.run)
    ahead = datetime.now(UTC) + timedelta(days=400)
    folder = open_folder(sync.workspace)
    if place == "file":
        found = RecordedSizes.from_json((folder / "source_sizes" / "people").read_document("sizes.json"))
        late = tuple(size.model_copy(update={"read_at": ahead}) for size in found.sizes)
        (folder / "source_sizes" / "people").put_document("sizes.json", RecordedSizes(sizes=late).to_json())
    elif place == "records":
        (stream,) = (folder / "records" / "decisions" / "people").names()
        records = folder / "records" / "decisions" / "people" / stream
        document = DecisionRecords.from_json(records.read_document("00000001.json"))
        late = tuple(size.model_copy(update={"read_at": ahead}) for size in document.source_sizes)
        records.put_document("00000001.json", document.model_copy(update={"source_sizes": late}).to_json())
    else:
        with closing(sqlite3.connect(sync.folder / "ledger.db")) as connection:
            (text,) = connection.execute("SELECT sizes FROM consent_retl_sources").fetchone()
            sizes = [{**size, "read_at": ahead.isoformat()} for size in json.loads(text)]
            connection.execute("UPDATE consent_retl_sources SET sizes = ?", [json.dumps(sizes)])
            connection.commit()

    sync.others(5)
    with task_fails(match=SHRANK):
        sync.run()
    assert sync.run(1)["unchanged"] == 3
    assert sync.run()["unchanged"] == 3
    sync.others(3)
    with task_fails(match="it has 3 rows with a key, and had 5"):
        sync.run()
