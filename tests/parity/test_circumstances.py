"""Tests of the signals that overrule or qualify consent: every workspace gives the results that are written here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup
from parity.model import Model, Person
from parity.workspaces import Both

from airflow_consent_retl.consent import ExcludedDestinations, FirstOf, Recorded, RowConsent
from airflow_consent_retl.reports import compare_with_segment, diff_policies, explain

KINDS = {
    "id": "text",
    "ads": "boolean",
    "app": "boolean",
    "seen": "instant",
    "notice": "integer",
    "country": "text",
    "signal": "boolean",
    "excluded": "text",
}
NOW = datetime.now(UTC).replace(microsecond=0)
YES: dict[str, Any] = {
    "ads": True,
    "app": True,
    "seen": NOW - timedelta(days=30),
    "notice": 3,
    "country": "DE",
    "signal": False,
    "excluded": None,
}
EVERYWHERE = ("mailing", "storefront", "warehouse_copy")
# The values of each person that differ from `YES`, and the recipients of the row.
ROWS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "yes": ({}, EVERYWHERE),
    "no": ({"ads": False}, ("storefront", "warehouse_copy")),
    "silent": ({"ads": None}, EVERYWHERE),
    "silent everywhere": ({"ads": None, "app": None}, ("storefront", "warehouse_copy")),
    "app says no": ({"ads": None, "app": False}, ("warehouse_copy",)),
    "fresh to the day": ({"seen": NOW - timedelta(days=364)}, EVERYWHERE),
    "expired": ({"seen": NOW - timedelta(days=367)}, ("storefront", "warehouse_copy")),
    "of the future": ({"seen": NOW + timedelta(days=2)}, ("storefront", "warehouse_copy")),
    "without a time": ({"seen": None}, ("storefront", "warehouse_copy")),
    "old notice": ({"notice": 2}, ("storefront", "warehouse_copy")),
    "no notice": ({"notice": None}, ("storefront", "warehouse_copy")),
    "Californian": ({"country": "US-CA", "ads": None, "app": None}, ("storefront", "warehouse_copy")),
    "strict region": ({"country": "FR", "app": None}, ("mailing", "warehouse_copy")),
    "unknown region": ({"country": None, "app": None}, ("mailing", "warehouse_copy")),
    "other spelling": ({"country": "us-ca", "app": None}, ("mailing", "warehouse_copy")),
    "signals": ({"signal": True}, ("warehouse_copy",)),
    "no signal": ({"signal": None}, EVERYWHERE),
    "excluded once": ({"excluded": '["mailing"]'}, ("storefront", "warehouse_copy")),
    "excluded all": ({"excluded": '["mailing", "storefront", "warehouse_copy"]'}, ()),
    "torn switch": ({"excluded": '["mailing"'}, ()),
}
SETUP = Setup(
    name="circumstances",
    policy={
        "categories": [
            {
                "id": "C0004",
                "name": "Advertising",
                "destinations": ["mailing"],
                "max_age": "1 year",
                "min_notice_version": 3,
            },
            {
                "id": "C0002",
                "name": "Analytics",
                "destinations": ["storefront"],
                "regime": "opt_in",
                "regions": {"US-CA": "opt_out", "DE": "opt_out"},
            },
        ]
    },
    consent=RowConsent(
        {"C0004": FirstOf(Recorded("ads", notice_version="notice"), "app"), "C0002": "app"},
        time="seen",
        notice_version="notice",
        region="country",
        gpc="signal",
        switches=ExcludedDestinations("excluded"),
    ),
    columns={"C0004": "ads", "C0002": "app"},
    destinations=EVERYWHERE,
)


def test_everything_that_qualifies_consent_means_the_same_everywhere(warehouse: Engine, root: Path) -> None:
    people = tuple(Person(id_, {"id": id_, **YES, **answers}, {}, {}) for id_, (answers, _) in ROWS.items())
    model = Model(KINDS, people)
    warehouse.create("circumstances", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="circumstances")

    lake, inside = both.filter(SETUP)

    found = both.inside.decided(inside, SETUP, asked=("signals", "torn switch"))
    assert found.recipients == {id_: where for id_, (_, where) in ROWS.items() if where}
    assert_same(found, both.lake.decided(lake, SETUP, asked=("signals", "torn switch")))
    assert both.inside.permitted(inside).conflicts == both.lake.permitted(lake).conflicts == {"C0004": 1}


OLD = NOW - timedelta(days=400)
# The two records of each person, and the recipients of the row.
SEVERAL: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "yes, no": ({"app": False}, ("strict",)),
    "old yes, no": ({"seen": OLD, "app": False}, ()),
    "undated yes, no": ({"seen": None, "app": False}, ()),
    "old yes, yes": ({"seen": OLD}, ("loose", "strict")),
    "old yes, nothing": ({"seen": OLD, "app": None}, ("loose",)),
    "nothing, nothing": ({"ads": None, "app": None}, ("loose",)),
    "no, yes": ({"ads": False}, ()),
    "nothing, no": ({"ads": None, "app": False}, ()),
}
_RECORDS = FirstOf(Recorded("ads", time="seen"), Recorded("app", time="app_seen"))
SEVERAL_RECORDS = Setup(
    name="several records",
    policy={
        "missing_consent_column": "deny",
        "categories": [
            {"id": "C0002", "name": "Strict", "destinations": ["strict"], "max_age": "1 year"},
            {"id": "C0003", "name": "Loose", "destinations": ["loose"], "max_age": "1 year", "regime": "opt_out"},
            {"id": "C0004", "name": "Lacking", "destinations": ["lacking"]},
        ],
    },
    consent={"C0002": _RECORDS, "C0003": _RECORDS, "C0004": FirstOf("nowhere_to_be_found", "ads")},
    columns={"C0002": "ads", "C0003": "ads", "C0004": "ads"},
    destinations=("strict", "loose", "lacking"),
)


def test_only_a_fresh_yes_outvotes_a_no_everywhere(warehouse: Engine, root: Path) -> None:
    people = tuple(
        Person(id_, {"id": id_, **YES, "app_seen": NOW, **answers}, {}, {}) for id_, (answers, _) in SEVERAL.items()
    )
    model = Model({**KINDS, "app_seen": "instant"}, people)
    warehouse.create("several_records", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="several_records")

    lake, inside = both.filter(SEVERAL_RECORDS)

    found = both.inside.decided(inside, SEVERAL_RECORDS, asked=SEVERAL)
    assert found.recipients == {id_: where for id_, (_, where) in SEVERAL.items() if where}
    assert_same(found, both.lake.decided(lake, SEVERAL_RECORDS, asked=SEVERAL))


def test_reports_say_the_same_of_a_snapshot_wherever_its_rows_are(warehouse: Engine, root: Path) -> None:
    people = tuple(Person(id_, {"id": id_, **YES, **answers}, {}, {}) for id_, (answers, _) in ROWS.items())
    model = Model(KINDS, people)
    warehouse.create("circumstances", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="circumstances")
    looser = {"categories": [SETUP.policy["categories"][1]]}
    asked: dict[str, Any] = {"consent": SETUP.consent, "destinations": list(EVERYWHERE), "at": datetime.now(UTC)}

    reports = []
    for workspace, snapshot in both.each:
        with workspace.engine.environment(AIRFLOW__CONSENT_RETL__WORKSPACE=workspace.root.as_uri()):
            diff = diff_policies(SETUP.policy, looser, snapshot, **asked)
            beside = compare_with_segment(snapshot=snapshot, policy=SETUP.policy, **asked)
            explained = [explain(id_, snapshot=snapshot, policy=SETUP.policy, **asked) for id_ in ROWS]
            reports.append((diff, beside, explained))

    (diff, beside, explained), inside = reports
    assert inside[0] == diff
    assert inside[1] == beside
    assert [found.to_markdown() for found in inside[2]] == [found.to_markdown() for found in explained]
    recipients = [{name for name, d in found.destinations.items() if d.permitted} for found in explained]
    assert recipients == [set(where) for _, where in ROWS.values()]
    permitted = sum("mailing" in where for _, where in ROWS.values())
    assert diff.destinations["mailing"].permitted_before == permitted  # type: ignore[index]
    # The destination is unmapped now: it receives all rows except those whose own switch forbids it.
    assert diff.destinations["mailing"].permitted_after == len(ROWS) - 3  # type: ignore[index]
