"""Tests of reports on a real snapshot: they count exactly, give reasons, and contain no value of a row."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.people import CANARY

from airflow_consent_retl.consent import (
    ConsentSource,
    ExcludedDestinations,
    Literals,
    Recorded,
    RowConsent,
    SuppressionList,
    TcfString,
)
from airflow_consent_retl.errors import ConfigurationError, ModelError
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator
from airflow_consent_retl.reports import compare_with_segment, diff_policies, explain

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
POLICY: dict[str, Any] = {
    "categories": [
        {"id": "C0004", "name": "Advertising", "destinations": ["webhook"], "max_age": "13 months"},
        {
            "id": "C0002",
            "name": "Analytics",
            "destinations": ["webhook", "crm_table"],
            "regions": {"US-CA": "opt_out", "DE": "opt_in"},
        },
        {"id": "C0005", "name": "Telephone", "fields": {"crm_table": ["phone"]}},
    ]
}
CONSENT = RowConsent(
    {
        "C0004": Recorded(Literals("ads", granted=("yes",), denied=("no",)), time="seen_at"),
        "C0002": "stats",
        "C0005": "calls",
    },
    region="country",
    gpc="gpc",
    switches=ExcludedDestinations("excluded"),
)
DESTINATIONS = ["webhook", "crm_table", "printer"]
OLD = AT - timedelta(days=700)
#        id, ads, seen_at, stats, calls, country, gpc, excluded
PEOPLE: list[tuple[Any, ...]] = [
    (1, "yes", AT, True, True, "DE", False, None),
    (2, "yes", OLD, True, False, "DE", False, None),
    (3, "maybe", AT, None, True, "US-CA", None, None),
    (4, "no", AT, True, True, "FR", True, None),
    (5, "yes", AT, True, True, "DE", False, '["crm_table"]'),
    (6, "yes", AT, False, True, "US-CA", False, "["),
    (7, "yes", AT, True, True, "DE", False, None),
]


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    file = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE TABLE people (id BIGINT, ads VARCHAR, seen_at TIMESTAMPTZ, stats BOOLEAN, calls BOOLEAN, "
            "country VARCHAR, gpc BOOLEAN, excluded VARCHAR, email VARCHAR)"
        )
        for row in PEOPLE:
            connection.execute(
                "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [*row, f"{CANARY}{row[0]}@example.com"]
            )
        connection.execute("CREATE TABLE never AS SELECT 7 AS id")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", f"file://{tmp_path}/workspace")
    operator = ExtractModelOperator(
        task_id="extract",
        model="people",
        conn_id="warehouse",
        sql="SELECT * FROM people",
        primary_key="id",
        consent_sources=[SuppressionList("SELECT id FROM never", subject="id")],
    )
    output: dict[str, Any] = operator.execute({})
    return output


def explained(snapshot: dict[str, Any], subject: Any, policy: dict[str, Any] = POLICY) -> Any:
    return explain(subject, snapshot=snapshot, policy=policy, consent=CONSENT, destinations=DESTINATIONS, at=AT)


@pytest.mark.parametrize(
    ("subject", "answers"),
    [
        (1, {"webhook": "consented", "crm_table": "consented", "printer": "unmapped"}),
        (2, {"webhook": ("C0004:expired",), "crm_table": "consented", "printer": "unmapped"}),
        (3, {"webhook": ("C0004:invalid",), "crm_table": "not_opted_out", "printer": "unmapped"}),
        (4, {"webhook": ("C0004:denied", "gpc:denied"), "crm_table": ("gpc:denied",), "printer": "unmapped"}),
        (5, {"webhook": "consented", "crm_table": ("row_switch:denied",), "printer": "unmapped"}),
        (
            6,
            {
                "webhook": ("C0002:denied", "row_switch:invalid"),
                "crm_table": ("C0002:denied", "row_switch:invalid"),
                "printer": ("row_switch:invalid",),
            },
        ),
        (7, dict.fromkeys(DESTINATIONS, ("suppression:denied",))),
    ],
)
def test_one_id_is_explained_for_every_destination(
    snapshot: dict[str, Any], subject: int, answers: dict[str, Any]
) -> None:
    found = explained(snapshot, subject)

    assert {name: d.ground if d.permitted else d.reasons for name, d in found.destinations.items()} == answers
    assert found.policy_digest.startswith("sha256:")
    assert all(d.would_change for d in found.destinations.values())


def test_an_explanation_says_why_a_string_contradicts_its_specification(snapshot: dict[str, Any]) -> None:
    found = explain(
        3,
        snapshot=snapshot,
        policy={"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"]}]},
        consent={"C0004": TcfString("ads", purposes=(1,), vendor=755)},
        destinations=["webhook"],
        at=AT,
    )

    signal = found.signals[0]
    # The value is `maybe`: five characters, 30 bits.
    assert signal.value == "an undeclared value: it ends inside of a field"
    assert "maybe" not in found.to_markdown()


def test_an_explanation_says_what_would_change_it_and_contains_no_value(snapshot: dict[str, Any]) -> None:
    found = explained(snapshot, 3)

    assert found.statuses == {"C0002": "unknown", "C0004": "invalid", "C0005": "granted"}
    assert found.destinations["webhook"].would_change == ("`C0004`: a readable value that means yes",)
    assert found.destinations["crm_table"].rule == "C0002"
    assert explained(snapshot, 2).destinations["crm_table"].withheld == ("phone",)
    report = found.to_markdown()
    assert "| `ads` | Literals | an undeclared value |" in report
    assert "maybe" not in report
    assert CANARY not in report


def test_a_missing_id_or_one_of_another_kind_is_refused_without_being_shown(snapshot: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="no row of this id"):
        explained(snapshot, 999)
    with pytest.raises(ConfigurationError, match="no id of the snapshot, whose `id` is int64") as caught:
        explained(snapshot, f"{CANARY}1")
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None


def test_an_explanation_agrees_with_the_filter(snapshot: dict[str, Any]) -> None:
    stricter = {**POLICY, "categories": [{**POLICY["categories"][0], "destinations": ["webhook", "printer"]}]}
    consent = RowConsent({"C0004": CONSENT.categories["C0004"]}, time="seen_at")  # type: ignore[index]

    diff = diff_policies(
        POLICY | {"categories": POLICY["categories"][:1]},
        stricter,
        snapshot,
        consent=consent,
        destinations=["webhook", "printer"],
        at=AT,
    )

    permitted = [
        explain(row[0], snapshot=snapshot, policy=stricter, consent=consent, destinations=["printer"], at=AT)
        .destinations["printer"]
        .permitted
        for row in PEOPLE
    ]
    printer = diff.destinations["printer"]  # type: ignore[index]
    assert (printer.permitted_before, printer.permitted_after) == (6, sum(permitted))
    assert printer.lost_by_reason == {"C0004:denied": 1, "C0004:expired": 1, "C0004:invalid": 1}
    assert diff.destinations["webhook"].gained == diff.destinations["webhook"].lost == 0  # type: ignore[index]
    assert "| `printer` | 6 | 3 | 0 | 3 |" in diff.to_markdown()


def test_a_backfill_decides_by_the_time_of_the_run(snapshot: dict[str, Any]) -> None:
    extract = ExtractModelOperator(
        task_id="extract",
        model="people",
        conn_id="warehouse",
        sql="SELECT * FROM people WHERE id = 2",
        primary_key="id",
    )
    operator = ConsentFilterOperator(
        task_id="consent",
        snapshot=extract.execute({}),
        policy={
            "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"], "max_age": "1 year"}]
        },
        consent=RowConsent({"C0004": Literals("ads", granted=("yes",))}, time="seen_at"),
        destinations=["webhook"],
    )
    the_day_after = OLD + timedelta(days=1)

    context: Any = {"logical_date": the_day_after, "data_interval_end": the_day_after}
    output: Any = operator.execute(context)

    assert output["permitted"] == {"webhook": 0}
    assert datetime.fromisoformat(output["at"]) > AT


def test_the_comparison_with_segments_rules_gives_the_reason_for_each_difference(snapshot: dict[str, Any]) -> None:
    found = compare_with_segment(snapshot=snapshot, policy=POLICY, consent=CONSENT, destinations=DESTINATIONS, at=AT)

    webhook = found.destinations["webhook"]
    assert (webhook.both, webhook.only_segment, webhook.only_here, webhook.neither) == (2, 2, 0, 3)
    every = "consent to every category of the destination"
    assert dict(webhook.differences) == {(every, "C0004:expired"): 1, (every, "suppression:denied"): 1}
    assert dict(found.destinations["crm_table"].differences)["no consent to C0002", "not_opted_out"] == 1
    for name, compared in found.destinations.items():
        assert compared.both + compared.only_segment + compared.only_here + compared.neither == found.rows == 7, name
    assert CANARY not in found.to_markdown()


def test_a_source_of_consent_is_part_of_every_report(snapshot: dict[str, Any], tmp_path: Path) -> None:
    operator = ExtractModelOperator(
        task_id="again",
        model="people",
        conn_id="warehouse",
        sql="SELECT id, email FROM people",
        primary_key="id",
        consent_sources=[ConsentSource("SELECT id, stats FROM people", subject="id", columns=["stats"])],
    )
    joined: Any = operator.execute({})
    policy = {"categories": [{"id": "C0002", "name": "Analytics", "destinations": ["webhook"]}]}

    found = explain(3, snapshot=joined, policy=policy, consent={"C0002": "stats"}, destinations=["webhook"], at=AT)

    assert [signal.column for signal in found.signals] == ["stats", "stats_doubt"]
    assert found.destinations["webhook"].reasons == ("C0002:unknown",)
