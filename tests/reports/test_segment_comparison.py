"""Tests of the comparison with Segment on a real snapshot of events, in files and inside a warehouse."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.people import CANARY
from support.postgres import Postgres

from airflow_consent_retl.consent import ConsentObject, IntegrationsObject, RowConsent
from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.operators import ExtractModelOperator
from airflow_consent_retl.reports import compare_with_segment

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
POLICY: dict[str, Any] = {
    "categories": [
        {"id": "ads", "name": "Advertising", "destinations": ["facebook", "google_ads"]},
        {"id": "stats", "name": "Analytics", "destinations": ["amplitude"]},
    ]
}
DESTINATIONS = ["amplitude", "facebook", "google_ads", "mailbox"]
ALL = set(DESTINATIONS)
SWITCHES = '{"facebook": true, "amplitude": false}'
# The consent object of an event, its integrations object, the number of such events, and Segment's recipients.
EVENTS: list[tuple[str | None, str | None, int, set[str]]] = [
    (None, None, 3, ALL),
    ("{}", None, 2, ALL),
    (None, SWITCHES, 1, {"facebook", "google_ads", "mailbox"}),
    ("{}", SWITCHES, 1, {"mailbox"}),
    ('{"categoryPreferences": {}}', None, 2, {"mailbox"}),
    ('{"categoryPreferences": {"ads": true}}', None, 4, {"facebook", "google_ads", "mailbox"}),
    ('{"categoryPreferences": {"ads": true}}', '{"facebook": false}', 1, {"google_ads", "mailbox"}),
    ('{"categoryPreferences": {"ads": false, "stats": true}}', None, 5, {"amplitude", "mailbox"}),
    ('{"categoryPreferences": {"ads": "true", "stats": true}}', None, 1, {"amplitude", "mailbox"}),
]
ROWS = sum(times for _, _, times, _ in EVENTS)
EVENT = RowConsent(ConsentObject("consent"), switches=IntegrationsObject("integrations"))


@pytest.fixture(params=["text", "jsonb"])
def events(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS staging CASCADE")
        connection.execute("CREATE SCHEMA staging")
        connection.execute("DROP TABLE IF EXISTS events")
        connection.execute(
            f"CREATE TABLE events (id serial, email text, consent {request.param}, integrations {request.param})"
        )
        for consent, integrations, times, _ in EVENTS:
            for _ in range(times):
                connection.execute(
                    "INSERT INTO events (email, consent, integrations) VALUES (%s, %s, %s)",
                    [f"{CANARY}@example.com", consent, integrations],
                )
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())


@pytest.fixture(params=[None, "warehouse:staging"], ids=["files", "warehouse"])
def snapshot(request: pytest.FixtureRequest, events: None) -> Any:
    operator = ExtractModelOperator(
        task_id="extract",
        model="events",
        conn_id="pg",
        sql="SELECT * FROM events",
        primary_key="id",
        workspace=request.param,
    )
    return operator.execute({})


def test_counts_for_every_destination_what_segment_sends_of_events(snapshot: Any) -> None:
    found = compare_with_segment(
        snapshot=snapshot, policy=POLICY, consent=EVENT, destinations=DESTINATIONS, rules="connections", at=AT
    )

    sent: Counter[str] = Counter()
    for _, _, times, receive in EVENTS:
        sent.update(dict.fromkeys(receive, times))
    assert {name: compared.both + compared.only_segment for name, compared in found.destinations.items()} == sent
    for name, compared in found.destinations.items():
        assert compared.both + compared.only_segment + compared.only_here + compared.neither == found.rows == ROWS, name
        assert sum(compared.differences.values()) == compared.only_segment + compared.only_here, name
    nothing = "without consent information nothing is enforced"
    assert dict(found.destinations["google_ads"].differences) == {(nothing, "ads:unknown"): 6}
    assert dict(found.destinations["facebook"].differences) == {(nothing, "ads:unknown"): 6}
    # Not a difference: Segment and this package both apply the integrations object.
    assert found.destinations["facebook"].only_here == found.destinations["mailbox"].only_here == 0


def test_under_reverse_etl_a_missing_answer_is_a_no(snapshot: Any) -> None:
    found = compare_with_segment(
        snapshot=snapshot, policy=POLICY, consent=ConsentObject("consent"), destinations=DESTINATIONS, at=AT
    )

    ads = found.destinations["google_ads"]
    assert (ads.both, ads.only_segment, ads.only_here, ads.neither) == (5, 0, 0, ROWS - 5)
    assert "compared with Segment's rules for Reverse ETL" in found.to_markdown()
    assert "| destination | Segment | here | rows |" not in found.to_markdown()


def test_segment_sends_every_row_to_a_destination_that_it_does_not_enforce(snapshot: Any) -> None:
    found = compare_with_segment(
        snapshot=snapshot,
        policy=POLICY,
        consent=ConsentObject("consent"),
        destinations=["google_ads"],
        unenforced=["google_ads"],
        at=AT,
    )

    ads = found.destinations["google_ads"]
    assert (ads.both, ads.only_segment, ads.neither) == (5, ROWS - 5, 0)
    assert {theirs for theirs, _ in ads.differences} == {"the destination enforces no consent"}


def test_the_report_contains_no_value_of_a_row_and_one_line_for_each_difference(snapshot: Any) -> None:
    policy = {"categories": [{"id": "ads|stats", "name": "Both", "destinations": ["facebook"]}]}

    found = compare_with_segment(
        snapshot=snapshot, policy=policy, consent=EVENT, destinations=["facebook"], rules="connections", at=AT
    )

    report = found.to_markdown()
    assert CANARY not in report
    assert report.splitlines()[-1].endswith(f"| ads\\|stats:unknown | {found.destinations['facebook'].only_segment} |")


def test_rules_for_events_need_the_consent_object(snapshot: Any) -> None:
    with pytest.raises(PolicyError, match="are about a ConsentObject"):
        compare_with_segment(
            snapshot=snapshot,
            policy={"categories": [{"id": "ads", "name": "Ads", "destinations": ["facebook"]}]},
            consent={"ads": EVENT.categories.for_category("ads", "Ads")},  # type: ignore[union-attr]
            destinations=["facebook"],
            rules="connections",
            at=AT,
        )
