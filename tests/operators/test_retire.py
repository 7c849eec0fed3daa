"""A sync can be emptied without its model: everyone is removed, and the destination has to confirm each person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.crm_sync import FIELDS, CrmSync
from support.log_lines import task_fails
from support.servers import Answer, Receiver, receiver, reset, says, status
from support.syncing import Recorder

from airflow_consent_retl.errors import DestinationUnavailableError
from airflow_consent_retl.hooks.upkeep import syncs
from airflow_consent_retl.operators import (
    LoadOperator,
    LoadToFilesOperator,
    LoadToSqlTableOperator,
    LoadToWebhookOperator,
    RetireSyncOperator,
)


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, 4)
    return made


@pytest.fixture
def server(crm: CrmSync) -> Iterator[Receiver]:
    with receiver() as served:
        crm.connect("http", conn_type="http", host=served.url, extra={"allow_private": True})
        yield served


def without_source(crm: CrmSync, monkeypatch: pytest.MonkeyPatch) -> None:
    (crm.path / "source.db").unlink()
    monkeypatch.delenv("AIRFLOW_CONN_SOURCE")


def to_webhook(**options: Any) -> Callable[..., LoadOperator]:
    return partial(LoadToWebhookOperator, conn_id="http", endpoint="/people", fields=FIELDS, max_attempts=1, **options)


def retire(
    crm: CrmSync, load: Callable[..., LoadOperator] | None = None, *, destination: str = "crm", **options: Any
) -> dict[str, int]:
    counts: dict[str, int] = RetireSyncOperator(
        task_id="retire",
        **{
            "model": "people",
            "destination": destination,
            "load": crm.load_of(load),
            "workspace": crm.workspace,
            "settle_s": 0,
            **options,
        },
    ).execute({})
    return counts


def left(crm: CrmSync) -> list[int]:
    return [one.current.rows for one in syncs(workspace=crm.workspace) if one.current is not None]


def test_a_table_is_emptied_though_the_model_and_its_source_are_gone(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.sync()
    crm.run_sql("INSERT INTO people (id, email) VALUES (99, 'not ours')")
    without_source(crm, monkeypatch)

    counts = retire(crm)

    assert counts == {"removed": 4, "not_removed": 0, "delivered": 0}
    assert crm.there() == [99]
    assert left(crm) == []


def test_a_second_time_does_nothing_also_where_another_sync_has_the_target_now(crm: CrmSync) -> None:
    crm.sync()
    retire(crm)
    assert retire(crm) == {"removed": 0, "not_removed": 0, "delivered": 0}

    crm.sync(model="renamed")

    assert retire(crm) == {"removed": 0, "not_removed": 0, "delivered": 0}
    assert crm.there() == [1, 2, 3, 4]


def test_an_export_is_left_without_a_row(crm: CrmSync, monkeypatch: pytest.MonkeyPatch) -> None:
    export = partial(LoadToFilesOperator, path=(crm.path / "lake").as_uri(), fields=FIELDS, format="jsonl")
    crm.sync(export, destination="lake")
    without_source(crm, monkeypatch)

    assert retire(crm, export, destination="lake")["removed"] == 4

    assert [file for file in (crm.path / "lake").rglob("*.jsonl*") if b"x.example" in file.read_bytes()] == []
    assert left(crm) == []


def test_people_whom_the_destination_does_not_remove_stay_and_fail_the_task(crm: CrmSync, server: Receiver) -> None:
    crm.sync(to_webhook(), destination="webhook")
    server.answers = [says({"errors": [{"index": 2, "code": "locked"}]})]

    with task_fails(match="did not remove 1 of 4 people"):
        retire(crm, to_webhook(), destination="webhook")

    assert left(crm) == [1]
    assert retire(crm, to_webhook(), destination="webhook")["removed"] == 1
    assert left(crm) == []


@pytest.mark.parametrize("unclear", [reset, status(503), status(200, b"{}")])
def test_a_removal_without_a_clear_answer_is_repeated_by_the_next_try(
    crm: CrmSync, server: Receiver, unclear: Answer
) -> None:
    crm.sync(to_webhook(), destination="webhook")
    server.answers = [unclear]

    with pytest.raises(DestinationUnavailableError):
        retire(crm, to_webhook(), destination="webhook")
    assert left(crm) == [4]

    assert retire(crm, to_webhook(), destination="webhook")["removed"] == 4
    assert server.people == {}
    assert left(crm) == []


def test_a_sync_is_not_empty_while_an_earlier_request_may_bring_somebody_back(crm: CrmSync, server: Receiver) -> None:
    server.answers = [reset]
    with pytest.raises(DestinationUnavailableError):
        crm.sync(to_webhook(), destination="webhook")

    for _ in range(2):
        with pytest.raises(DestinationUnavailableError, match="4 people were removed, and a request that was never"):
            retire(crm, to_webhook(), destination="webhook", settle_s=3600)
        assert left(crm) == [4]


def test_a_limit_on_removals_does_not_stop_a_deliberate_end(crm: CrmSync) -> None:
    limited = partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS, max_removed_ratio=0)
    crm.sync(limited)

    assert retire(crm, limited)["removed"] == 4


class OwnLoad(LoadToSqlTableOperator):
    """A user's own operator, whose parameters alone do not say how its destination is built."""

    def build_destination(self) -> Any:
        return super().build_destination()


def test_a_load_of_a_users_own_operator_builds_its_destination_itself(crm: CrmSync) -> None:
    own = partial(OwnLoad, conn_id="crm", table="people", fields=FIELDS)
    crm.sync(own)

    assert retire(crm, own)["removed"] == 4
    assert crm.there() == []


class Memory(Recorder):
    """A destination that cannot remove people."""

    can_remove = False


class LoadToMemory(LoadOperator):
    """A load whose author accepts that no one can be removed."""

    def build_destination(self) -> Recorder:
        return Memory()


def test_a_destination_that_cannot_remove_people_cannot_be_emptied(crm: CrmSync) -> None:
    memory = partial(LoadToMemory, fields=FIELDS, accept_no_removal=True)
    crm.sync(memory)

    with task_fails(match="cannot remove people, so sync `people/crm` cannot be emptied: 4"):
        retire(crm, memory)

    assert left(crm) == [4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "poeple"}, "`poeple/crm` is not among the 1 syncs of the ledger, did you mean `people/crm`"),
        ({"destination": "ads"}, "`people/ads` is not among the 1 syncs"),
        (
            {"load": partial(LoadToSqlTableOperator, conn_id="crm", table="other", fields=FIELDS)},
            "delivered to .*, now it would deliver to",
        ),
    ],
)
def test_another_name_or_another_target_is_refused(crm: CrmSync, options: dict[str, Any], message: str) -> None:
    crm.sync()

    with task_fails(match=message):
        retire(crm, **options)

    assert crm.there() == [1, 2, 3, 4]
    assert left(crm) == [4]


def test_a_table_that_is_gone_is_no_proof_that_its_people_are(crm: CrmSync) -> None:
    crm.sync()
    crm.run_sql("ALTER TABLE people RENAME TO kept")

    with task_fails():
        retire(crm)

    assert left(crm) == [4]


def test_people_of_a_sync_that_shares_the_target_stay_there(crm: CrmSync) -> None:
    def shared(other: str) -> Callable[..., LoadOperator]:
        return partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS, shares_target_with=[other])

    crm.sync(shared("leads/crm"))
    crm.people(1, 2)
    crm.sync(shared("people/crm"), model="leads")

    assert retire(crm, shared("leads/crm"))["removed"] == 4

    assert crm.there() == [1, 2]
    assert left(crm) == [2]
