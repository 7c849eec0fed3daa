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


TEXT = "expected text that is not empty"
NO_COLUMN = "expected at least one column that contains consent @ ConsentSource.columns"
TWICE = "a column is named twice @ ConsentSource.columns"
ONE_NAME = "two columns would have one name in the snapshot @ ConsentSource.columns"
EVENTS = "`bring_time` and `profile` belong to events, which have a `time` @ ConsentSource"
FORM = "expected one of folded, email, phone, sha256, exact"
SHARE = "expected a share, 0 to 1, or None"


@pytest.mark.parametrize(
    ("parameters", "problems"),
    [
        ({"sql": " "}, [f"{TEXT} @ ConsentSource.sql"]),
        ({"sql": None}, [f"{TEXT} @ ConsentSource.sql"]),
        ({"subject": ""}, [f"{TEXT} @ ConsentSource.subject"]),
        ({"subject": None}, [f"{TEXT} @ ConsentSource.subject"]),
        ({"columns": []}, [NO_COLUMN]),
        ({"columns": "ads"}, [NO_COLUMN]),
        ({"columns": [7]}, [NO_COLUMN]),
        ({"columns": [""]}, [NO_COLUMN]),
        ({"columns": {"a": 7}}, [NO_COLUMN]),
        ({"columns": {"a": ""}}, [NO_COLUMN]),
        ({"columns": [("a", "b", "c")]}, [NO_COLUMN]),
        ({"columns": [("a",)]}, [NO_COLUMN]),
        ({"columns": ["ads", "ads"]}, [TWICE]),
        ({"columns": {"a": "x", "b": "x"}}, [TWICE]),
        ({"columns": {"a": "x", "b": "X"}}, [ONE_NAME]),
        ({"columns": {"a": "x", "b": "x_doubt"}}, [ONE_NAME]),
        (
            {"category": "c"},
            [
                "`category` and `value` belong together @ ConsentSource",
                "expected each category's id with the name of its column @ ConsentSource.columns",
            ],
        ),
        (
            {"category": "c", "value": "v", "columns": ["C0004"]},
            [
                "expected each category's id with the name of its column @ ConsentSource.columns",
            ],
        ),
        ({"bring_time": True}, [EVENTS]),
        ({"profile": "device"}, [EVENTS]),
        ({"conn_id": ""}, [f"{TEXT} @ ConsentSource.conn_id"]),
        (
            {"match": "near", "max_shrink_ratio": 2},
            [f"{FORM} @ ConsentSource.match", f"{SHARE} @ ConsentSource.max_shrink_ratio"],
        ),
        (
            {"columns": {"opted_out": "ads"}},
            [
                "the answers of `ads` are in `opted_out`, which sounds like an objection: give the column a name that "
                "says so, such as `ads_opt_out`, and map it with OptOut(...) @ ConsentSource.columns",
            ],
        ),
    ],
)
def test_refuses_a_declaration_that_is_wrong(parameters: dict[str, Any], problems: list[str]) -> None:
    given = {"sql": "SELECT 1", "subject": "person", "columns": ["ads"], **parameters}

    with pytest.raises(PolicyError) as refused:
        ConsentSource(**given)

    assert [str(problem) for problem in refused.value.problems] == problems


@pytest.mark.parametrize("name", ["sql", "subject", "column"])
def test_a_list_has_a_query_and_two_columns(name: str) -> None:
    given: dict[str, Any] = {"sql": "SELECT 1", "subject": "person", "column": "never", name: None}

    with pytest.raises(PolicyError) as refused:
        SuppressionList(**given)

    assert [str(problem) for problem in refused.value.problems] == [f"{TEXT} @ SuppressionList.{name}"]


def test_a_share_that_may_be_lost_is_in_the_document_if_there_is_one() -> None:
    limited = ConsentSource("SELECT 1", subject="p", columns=["ads"], max_shrink_ratio=0.2)

    assert limited.max_shrink_ratio == source_document(limited)["max_shrink_ratio"] == 0.2
    assert "max_shrink_ratio" not in source_document(STATES)
    assert source_document(STATES)["columns"] == [["ads", "ads"], ["stats", "stats"]]
    assert "columns" not in source_document(NEVER)


def test_refuses_sources_that_bring_the_same_column_and_objects_that_are_no_source() -> None:
    with pytest.raises(PolicyError) as caught:
        check_sources(["SELECT 5", STATES, NEVER, ConsentSource("SELECT 4", subject="p", columns=["ADS"]), 7])

    assert [str(problem) for problem in caught.value.problems] == [
        "expected a ConsentSource or a SuppressionList @ consent_sources[0]",
        "column `ADS` is already brought by consent_sources[1] @ consent_sources[3]",
        "column `ADS_doubt` is already brought by consent_sources[1] @ consent_sources[3]",
        "expected a ConsentSource or a SuppressionList @ consent_sources[4]",
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
