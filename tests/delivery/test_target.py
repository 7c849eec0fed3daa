"""A sync whose rows would end up elsewhere is refused, in loads and withdrawals, unless its people were moved along."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk import DAG
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
from support.crm_sync import FIELDS, CrmSync
from support.log_lines import task_fails
from support.servers import receiver

from airflow_consent_retl.databases.place import place_of
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.operators import LoadOperator, LoadToFilesOperator, LoadToWebhookOperator
from airflow_consent_retl.sync import consent_sync

Move = Callable[[CrmSync], None]


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, 4)
    return made


def recorded(crm: CrmSync) -> list[str]:
    with open_ledger(crm.workspace) as ledger:
        return [one.target for one in ledger.syncs()]


def refused(crm: CrmSync, load: Callable[..., LoadOperator] | None = None, **options: Any) -> str:
    """Return the recorded target that a load and a withdrawal name when they refuse; nothing is sent by either."""
    crm.people(1, 2, 4, no=(3,))
    targets = []
    for act in (crm.sync, crm.withdraw):
        with task_fails(match=r"delivered to .* before, now it would deliver to") as caught:
            act(load, **options)
        found = re.search(r"set moved_from to the text of the old one, exactly: '(.*)'", str(caught.value))
        assert found is not None
        targets.append(found[1])
    assert targets[0] == targets[1]
    return targets[0]


# Tables


@pytest.mark.parametrize(
    "move",
    [
        pytest.param({"conn_type": "sqlite", "host": "{path}/other.db"}, id="another file"),
        pytest.param({"conn_type": "duckdb", "host": "{path}/crm.db"}, id="another database"),
    ],
)
def test_another_database_behind_the_same_connection_is_refused(crm: CrmSync, move: dict[str, str]) -> None:
    crm.sync()
    crm.connect("crm", **{name: value.format(path=crm.path) for name, value in move.items()})

    old = refused(crm)

    assert old == f"table `people` of sqlite:{crm.path}/crm.db"
    assert crm.there() == [1, 2, 3, 4]


def test_another_table_is_refused_and_the_same_place_behind_another_connection_is_not(crm: CrmSync) -> None:
    crm.sync()
    crm.connect("crm2", conn_type="sqlite", host=str(crm.path / "crm.db"))

    refused(crm, table="others")
    counts = crm.sync(conn_id="crm2")

    assert counts["removed"] == 1
    assert crm.there() == [1, 2, 4]


def test_people_who_were_moved_along_are_removed_at_the_new_target(crm: CrmSync) -> None:
    crm.sync()
    old = refused(crm, table="others")
    crm.run_sql("ALTER TABLE people RENAME TO others")

    with task_fails(match="delivered to"):
        crm.sync(table="others", moved_from="table `people` of somewhere else")
    removed = crm.withdraw(table="others", moved_from=old)
    again = crm.sync(table="others", moved_from=old)

    assert (removed["removed"], again["unchanged"]) == (1, 3)
    assert crm.there("others") == [1, 2, 4]
    assert crm.sync(table="others")["unchanged"] == 3


def test_a_sync_without_people_may_deliver_elsewhere(crm: CrmSync) -> None:
    crm.people(no=(1, 2))
    crm.sync()
    crm.people(1, 2)

    assert crm.sync(table="others")["added"] == 2


def test_a_target_as_the_release_before_recorded_it_is_accepted_once_and_replaced(crm: CrmSync) -> None:
    crm.sync()
    engine = sa.create_engine(f"sqlite:///{crm.folder / 'ledger.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE consent_retl_syncs SET target = 'table `people` of connection `crm`'"))
    engine.dispose()

    old = refused(crm, table="others")
    crm.sync()

    assert old == "table `people` of connection `crm`"
    assert recorded(crm) == [f"table `people` of sqlite:{crm.path}/crm.db"]
    crm.connect("crm", conn_type="sqlite", host=str(crm.path / "other.db"))
    refused(crm)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        (
            {"conn_type": "postgres", "host": "db.example", "port": 6432, "schema": "crm", "password": "s3cret"},
            "postgres://db.example:6432/crm",
        ),
        (
            {"conn_type": "postgres", "host": "db.example", "extra": {"options": "-c search_path=eu -c geqo=off"}},
            "postgres://db.example/ (search_path=eu)",
        ),
        (
            {"conn_type": "snowflake", "schema": "PUBLIC", "extra": {"account": "a1", "database": "CRM", "role": "r"}},
            "snowflake:///PUBLIC (account=a1, database=CRM)",
        ),
        ({"conn_type": "gcpbigquery", "extra": {"project": "crm-eu"}}, "project crm-eu"),
        (
            {"conn_type": "gcpbigquery", "extra": {"keyfile_dict": '{"project_id": "p1", "private_key": "s3cret"}'}},
            "project p1",
        ),
        ({"conn_type": "sqlite", "host": "/srv/crm.db"}, "sqlite:/srv/crm.db"),
        ({"conn_type": "duckdb", "host": "/srv/crm.duckdb"}, "duckdb:/srv/crm.duckdb"),
    ],
)
def test_the_place_of_a_database_names_what_decides_where_a_table_is_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], place: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"login": "me", **fields}))

    assert place_of(sql_hook("crm")) == place


# Webhooks


@pytest.fixture
def webhook(crm: CrmSync) -> Iterator[Callable[..., Callable[..., LoadOperator]]]:
    with receiver() as server:

        def load(endpoint: str = "/people", **headers: str) -> Callable[..., LoadOperator]:
            crm.connect("hook", conn_type="http", host=server.url, extra={"allow_private": True, "headers": headers})
            return partial(
                LoadToWebhookOperator, conn_id="hook", endpoint=endpoint, fields=FIELDS, settle_s=0, answer="status"
            )

        yield load


@pytest.mark.parametrize(
    ("endpoint", "headers"),
    [
        ("/people?list=43", {"X-Tenant": "a"}),
        ("/others?list=42", {"X-Tenant": "a"}),
        ("/people", {"X-Tenant": "a"}),
        ("/people?list=42", {"X-Tenant": "b"}),
        ("/people?list=42", {}),
        ("/people?list=42", {"X-Tenant": "a", "X-Region": "eu"}),
    ],
)
def test_another_path_query_or_header_is_refused_and_no_value_is_recorded(
    crm: CrmSync, webhook: Callable[..., Callable[..., LoadOperator]], endpoint: str, headers: dict[str, str]
) -> None:
    crm.sync(webhook("/people?list=42", **{"X-Tenant": "a"}), destination="webhook")

    old = refused(crm, webhook(endpoint, **headers), destination="webhook")

    assert "list=42" not in old
    assert re.search(r"/people with header x-tenant #[0-9a-f]{16}, the query #[0-9a-f]{16} under key", old)


def test_credentials_may_change(crm: CrmSync, webhook: Callable[..., Callable[..., LoadOperator]]) -> None:
    crm.sync(webhook(**{"X-Api-Key": "one", "Accept-Language": "a"}), destination="webhook")

    counts = crm.sync(webhook(**{"X-Api-Key": "two", "Accept-Language": "b"}), destination="webhook")

    assert counts["unchanged"] == 4


def test_another_key_of_digests_needs_a_word_about_the_move(
    crm: CrmSync, webhook: Callable[..., Callable[..., LoadOperator]], monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.sync(webhook("/people?list=42"), destination="webhook")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "another key of at least 32 characters")

    old = refused(crm, webhook("/people?list=42"), destination="webhook")
    counts = crm.sync(partial(webhook("/people?list=42"), moved_from=old), destination="webhook")

    assert counts["unchanged"] == 3


def test_a_key_of_digests_that_was_replaced_is_known(
    crm: CrmSync, webhook: Callable[..., Callable[..., LoadOperator]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "o" * 40)
    crm.sync(webhook("/people?list=42"), destination="webhook")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "n" * 40)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY_PREVIOUS", "o" * 40)

    # Another sync is refused there as before, and another place too.
    with task_fails(match="where `people/webhook` has people too"):
        crm.sync(webhook("/people?list=42"), model="others", destination="webhook")
    old = refused(crm, webhook("/people?list=43"), destination="webhook")
    counts = crm.sync(webhook("/people?list=42"), destination="webhook")

    assert counts["unchanged"] == 3
    assert old not in recorded(crm)


# Files


@pytest.mark.parametrize("after", ["file://{path}/lake2", "memory://bucket/lake"])
def test_another_folder_or_storage_is_refused(crm: CrmSync, after: str) -> None:
    attach("memory", fs=MemoryFileSystem())

    def load(path: str) -> Callable[..., LoadOperator]:
        path = path.format(path=crm.path)
        return partial(LoadToFilesOperator, path=path, format="jsonl", fields=FIELDS)

    crm.sync(load("file://{path}/lake"), destination="lake")

    assert refused(crm, load(after), destination="lake") == f"file://{crm.path}/lake"


# A whole sync


def test_consent_sync_hands_the_old_target_to_the_load_that_it_names() -> None:
    loads = {name: partial(LoadToFilesOperator, path=f"file:///srv/{name}", fields=FIELDS) for name in ("lake", "pond")}
    how: dict[str, Any] = {"conn_id": "w", "sql": "SELECT 1", "primary_key": "id", "policy": "variable:p"}
    with DAG("moved") as dag:
        consent_sync("customers", consent={}, loads=loads, moved_from={"lake": "file:///old"}, **how)
    moved = {task.destination: task.moved_from for task in dag.tasks if isinstance(task, LoadOperator)}

    assert moved == {"lake": "file:///old", "pond": None}
    assert {tuple(task.shares_sync_with_dags) for task in dag.tasks if isinstance(task, LoadOperator)} == {()}
    with pytest.raises(ConfigurationError, match="moved_from names `sea`"), DAG("wrong"):
        consent_sync("customers", consent={}, loads=loads, moved_from={"sea": "file:///old"}, **how)


def test_consent_sync_hands_to_every_load_the_dags_that_share_it_and_leaves_each_load_what_is_its_own() -> None:
    lake = partial(LoadToFilesOperator, path="file:///srv/lake", fields=FIELDS)
    pond = partial(
        LoadToFilesOperator,
        path="file:///srv/pond",
        fields=FIELDS,
        fields_not_sent=["phone"],
        allow_closing=True,
        shares_target_with=["leads/pond"],
    )
    how: dict[str, Any] = {"conn_id": "w", "sql": "SELECT 1", "primary_key": "id", "policy": "variable:p"}
    with DAG("shared") as dag:
        consent_sync(
            "customers", consent={}, loads={"lake": lake, "pond": pond}, shares_sync_with_dags=["hourly"], **how
        )
    loads = {task.destination: task for task in dag.tasks if isinstance(task, LoadOperator)}

    assert {tuple(load.shares_sync_with_dags) for load in loads.values()} == {("hourly",)}
    assert (loads["lake"].fields_not_sent, loads["lake"].allow_closing, loads["lake"].shares_target_with) == (
        (),
        False,
        (),
    )
    assert loads["pond"].fields_not_sent == ["phone"]
    assert loads["pond"].allow_closing
    assert loads["pond"].shares_target_with == ["leads/pond"]
