"""Tests of consent sources: declarations are strict, and equal after a round trip."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    ConsentSource,
    EpochTime,
    ExternalConsent,
    SuppressionList,
    check_sources,
    parse_consent_mapping,
    parse_source_document,
    segment_preference_events,
    source_document,
)
from airflow_consent_retl.errors import PolicyError

STATES = ConsentSource("SELECT 1", subject="person", key="id", columns=["ads", "stats"])
LONG = ConsentSource(
    "SELECT 2",
    subject="person",
    time="at",
    bring_time=True,
    profile="device",
    category="category",
    value="given",
    columns={"C0002": "stats_ok", "C0004": "ads_ok"},
    conn_id="elsewhere",
    column_types={"given": "bool"},
    require_match=False,
)
NEVER = SuppressionList("SELECT 3", subject="address", key="email", conn_id="crm", column="never")


NUMBERED = ConsentSource("SELECT 4", subject="person", columns=["ads"], time=EpochTime("at", "ms"))


@pytest.mark.parametrize("source", [STATES, LONG, NEVER, NUMBERED])
def test_reads_back_what_it_wrote_through_json(source: ExternalConsent) -> None:
    assert parse_source_document(json.loads(json.dumps(source_document(source)))) == source


def test_a_source_whose_times_are_numbers_says_so_in_its_document_and_no_other_does() -> None:
    assert (NUMBERED.time, NUMBERED.time_unit) == ("at", "ms")
    assert source_document(NUMBERED)["time_unit"] == "ms"
    assert "time_unit" not in source_document(LONG)
    with pytest.raises(PolicyError, match="expected `s`, `ms` or `us`"):
        ConsentSource("SELECT 4", subject="person", columns=["ads"], time="at", time_unit="days")  # type: ignore[arg-type]


def test_a_source_names_its_columns() -> None:
    assert STATES.brought == ("ads", "stats", "ads_doubt")
    assert STATES.doubts == {"ads": "ads_doubt", "stats": "ads_doubt"}
    assert LONG.brought == ("stats_ok", "ads_ok", "stats_ok_doubt", "ads_ok_doubt", "stats_ok_at", "ads_ok_at")
    assert NEVER.brought == NEVER.suppressions == ("never",)


def test_a_mapping_gets_the_doubts_and_suppressions_of_its_sources() -> None:
    mapping = parse_consent_mapping({"C0004": "ads_ok"}).with_sources([LONG, NEVER])

    assert mapping.doubts == (("ads_ok", "ads_ok_doubt"), ("stats_ok", "stats_ok_doubt"))
    assert mapping.suppressions == ("never",)


def test_segments_events_are_read_in_the_form_of_its_warehouses() -> None:
    source = segment_preference_events(
        "SELECT * FROM segment_consent_preference_updated", categories={"C0004": "ads", "DataSharing": "shared"}
    )

    assert source.columns == (
        ("context_consent_category_preferences_c0004", "ads"),
        ("context_consent_category_preferences_data_sharing", "shared"),
    )
    assert (source.subject, source.key, source.time) == ("user_id", "user_id", "timestamp")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sql": " "}, r"ConsentSource\.sql"),
        ({"subject": ""}, r"ConsentSource\.subject"),
        ({"columns": []}, "at least one column"),
        ({"columns": "ads"}, "at least one column"),
        ({"columns": ["ads", "ads"]}, "named twice"),
        ({"columns": {"a": "x", "b": "x"}}, "named twice"),
        ({"columns": {"a": "x", "b": "X"}}, "one name in the snapshot"),
        ({"columns": {"a": "x", "b": "x_doubt"}}, "one name in the snapshot"),
        ({"category": "c"}, "belong together"),
        ({"category": "c", "value": "v", "columns": ["C0004"]}, "each category's id"),
        ({"bring_time": True}, "belong to events"),
        ({"profile": "device"}, "belong to events"),
        ({"conn_id": ""}, r"ConsentSource\.conn_id"),
    ],
)
def test_refuses_a_declaration_that_is_wrong(parameters: dict[str, Any], message: str) -> None:
    given = {"sql": "SELECT 1", "subject": "person", "columns": ["ads"], **parameters}

    with pytest.raises(PolicyError, match=message):
        ConsentSource(**given)


def test_refuses_sources_that_bring_the_same_column_and_objects_that_are_no_source() -> None:
    with pytest.raises(PolicyError) as caught:
        check_sources([STATES, ConsentSource("SELECT 4", subject="p", columns=["ADS"]), "SELECT 5"])

    assert [str(problem) for problem in caught.value.problems] == [
        "column `ADS` is already brought by consent_sources[0] @ consent_sources[1]",
        "column `ADS_doubt` is already brought by consent_sources[0] @ consent_sources[1]",
        "expected a ConsentSource or a SuppressionList @ consent_sources[2]",
    ]


@pytest.mark.parametrize(
    "document", [{"format": "Oracle"}, {}, {"format": "SuppressionList", "sql": "x", "subject": "y", "moon": "full"}]
)
def test_refuses_a_document_that_this_version_does_not_know(document: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        parse_source_document(document)


def test_templates_are_rendered_only_in_sql_and_connection() -> None:
    rendered = LONG.rendered(lambda text: f"<{text}>")

    assert (rendered.sql, rendered.conn_id, rendered.columns) == ("<SELECT 2>", "<elsewhere>", LONG.columns)
    assert STATES.rendered(str.upper).conn_id is None
