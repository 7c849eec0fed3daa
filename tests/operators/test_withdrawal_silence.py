"""Tests of the fast lane and of a load's recheck where no row has an answer any more to an opt-out category."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import task_fails, unwrapped

from airflow_consent_retl.consent import RowConsent
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
)

SQL = "SELECT id, country, ads, news FROM people"
TYPES = {"id": "int64", "country": "string", "ads": "bool", "news": "bool"}
OPT_OUT = {"regime": "opt_out"}
IN_A_REGION = {"regions": {"US": "opt_out", "DE": "opt_in"}}
NEWS = {"id": "news", "name": "News", "destinations": ["crm"]}
NO_ANSWER = (
    "no row has any answer to `ads`, which is opt_out, so that every person would be permitted: check the column, the "
    "path and the key in `consent`. If no one has answered yet, name the category in `accept_silence`"
)
EMPTIED = "UPDATE people SET ads = NULL"


class AdsSync:
    """A sync of a SQLite model to a table, under a policy with the category `ads`."""

    def __init__(self, path: Path, regime: dict[str, Any]) -> None:
        self.path = path
        self.policy = {"categories": [{"id": "ads", "name": "Ads", "destinations": ["crm"], **regime}, NEWS]}
        self.read: dict[str, Any] = {
            "model": "people",
            "conn_id": "source",
            "sql": SQL,
            "primary_key": "id",
            "column_types": TYPES,
            "workspace": (path / "workspace").as_uri(),
        }
        self.decide: dict[str, Any] = {
            "policy": self.policy,
            "consent": RowConsent({"ads": "ads", "news": "news"}, region="country"),
        }
        self.load = partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields={"id": "id"}, settle_s=0)

    def change(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path / "source.db")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def permitted(self, **options: Any) -> Any:
        snapshot = ExtractModelOperator(task_id="extract", **self.read).execute({})
        return ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            destinations=["crm"],
            workspace=self.read["workspace"],
            **self.decide,
            **options,
        ).execute({})

    def deliver(self, permitted: Any) -> None:
        self.load(
            task_id="load",
            permitted=permitted,
            destination="crm",
            policy=self.policy,
            workspace=self.read["workspace"],
        ).execute({})

    def withdraw(self, **options: Any) -> dict[str, Any]:
        lane = PropagateWithdrawalsOperator(
            task_id="withdraw", loads={"crm": self.load}, max_removed_ratio=None, **self.read, **self.decide, **options
        )
        counts: dict[str, Any] = lane.execute({})["crm"]
        return counts

    @property
    def there(self) -> list[int]:
        with closing(sqlite3.connect(self.path / "crm.db")) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM people ORDER BY id")]


@pytest.fixture
def sync_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], AdsSync]:
    """Return a sync with these terms of `ads`: 1 to 3 say yes, 4 says no."""
    for name in ("source", "crm"):
        connection = {"conn_type": "sqlite", "host": str(tmp_path / f"{name}.db")}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))

    def make(regime: dict[str, Any]) -> AdsSync:
        sync = AdsSync(tmp_path, regime)
        sync.change(
            "CREATE TABLE people (id INTEGER PRIMARY KEY, country TEXT, ads, news)",
            "INSERT INTO people VALUES (1, 'US', 1, 1), (2, 'US', 1, 1), (3, 'US', 1, 1), (4, 'US', 0, 1)",
        )
        return sync

    return make


@pytest.mark.parametrize("regime", [OPT_OUT, IN_A_REGION])
def test_the_fast_lane_fails_where_no_row_has_an_answer_to_an_opt_out_category(
    sync_of: Callable[[dict[str, Any]], AdsSync], regime: dict[str, Any]
) -> None:
    sync = sync_of(regime)
    sync.deliver(sync.permitted())
    sync.change("UPDATE people SET ads = 0 WHERE id = 1", EMPTIED, "UPDATE people SET news = 0 WHERE id = 2")

    with task_fails() as failed:
        sync.withdraw()

    assert str(failed.value) == f"`people/crm`: {NO_ANSWER}"
    # An answer to another category is no silence: that person is removed all the same.
    assert sync.there == [1, 3]


def test_the_fast_lane_accepts_the_silence_that_its_dag_accepts(
    sync_of: Callable[[dict[str, Any]], AdsSync], capfd: pytest.CaptureFixture[str]
) -> None:
    sync = sync_of(OPT_OUT)
    sync.deliver(sync.permitted())
    sync.change(EMPTIED)

    assert sync.withdraw(accept_silence=["ads"])["removed"] == 0

    out, err = capfd.readouterr()
    assert "`ads` is opt_out and no row has an answer to it: accepted by accept_silence" in unwrapped(out + err)


@pytest.mark.parametrize(
    ("regime", "change", "removed"),
    [
        # One answer is enough, also that of a person who was never delivered.
        (OPT_OUT, "UPDATE people SET ads = NULL WHERE id < 4", 0),
        (OPT_OUT, "UPDATE people SET ads = CASE id WHEN 1 THEN 0 END", 1),
        ({"regime": "opt_in"}, EMPTIED, 3),
    ],
)
def test_the_fast_lane_passes_where_a_row_has_an_answer_or_the_category_is_opt_in(
    sync_of: Callable[[dict[str, Any]], AdsSync], regime: dict[str, Any], change: str, removed: int
) -> None:
    sync = sync_of(regime)
    sync.deliver(sync.permitted())
    sync.change(change)

    assert sync.withdraw()["removed"] == removed


def test_the_fast_lane_accepts_only_the_silence_of_an_opt_out_category(
    sync_of: Callable[[dict[str, Any]], AdsSync],
) -> None:
    with task_fails() as failed:
        sync_of(OPT_OUT).withdraw(accept_silence=["news"])

    assert str(failed.value) == ("accept_silence: category `news` is not opt_out, so silence permits no one: remove it")


@pytest.mark.parametrize("regime", [OPT_OUT, IN_A_REGION])
def test_a_load_sends_no_one_if_the_answers_to_an_opt_out_category_are_gone_since_the_filter(
    sync_of: Callable[[dict[str, Any]], AdsSync], regime: dict[str, Any]
) -> None:
    sync = sync_of(regime)
    permitted = sync.permitted()
    sync.change("UPDATE people SET ads = 0 WHERE id = 1", EMPTIED)

    with task_fails(match=f"`crm` is not sent any more people: asked again, {NO_ANSWER}"):
        sync.deliver(permitted)

    assert sync.there == []


@pytest.mark.parametrize(
    ("before", "accepted", "change"),
    [
        # The filter accepted the silence.
        (EMPTIED, ["ads"], "UPDATE people SET country = 'US'"),
        # One answer is enough, also that of a person who is not sent.
        ("UPDATE people SET country = 'US'", [], "UPDATE people SET ads = NULL WHERE id < 4"),
    ],
)
def test_a_load_sends_where_the_filter_accepted_the_silence_or_a_row_has_an_answer(
    sync_of: Callable[[dict[str, Any]], AdsSync], before: str, accepted: list[str], change: str
) -> None:
    sync = sync_of(OPT_OUT)
    sync.change(before)
    permitted = sync.permitted(accept_silence=accepted)
    sync.change(change)

    sync.deliver(permitted)

    assert sync.there == ([1, 2, 3, 4] if accepted else [1, 2, 3])
