"""Tests of vendors' records in columns: each row has its status, and no other value than a documented yes grants."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.record_rows import VENDORS, record_tables, status_of
from support.records import FILES, tables

from airflow_consent_retl import consent
from airflow_consent_retl.consent import (
    ConsentMapping,
    ConsentPlan,
    Literals,
    OptOut,
    hubspot_opt_out,
    klaviyo_consent,
    klaviyo_marketing,
    mapping_document,
    parse_consent_mapping,
    parse_mapping_document,
    segment_column,
    segment_preferences,
)
from airflow_consent_retl.consent.mapping import records_of
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
TABLES = {table.name: table for vendor in VENDORS for table in record_tables(vendor, at=AT)}
LITERALS = {
    "braze_channel": ("opted_in",),
    "dpv_status": tuple(
        start + state
        for state in ("ConsentGiven", "RenewedConsentGiven")
        for start in ("https://w3id.org/dpv#", "dpv:", "")
    ),
    "fides_preference": ("opt_in",),
    "ga4_consent_mode": ("Yes",),
    "ga4_ads_personalization": (),
    "ga4_limited_ad_tracking": (),
    "klaviyo_consent": ("SUBSCRIBED",),
    "mailchimp_status": ("subscribed",),
}


@cache
def plan_of(name: str) -> ConsentPlan:
    return TABLES[name].plan(at=AT)


@pytest.mark.parametrize("name", TABLES)
def test_each_row_has_the_status_of_its_table(name: str) -> None:
    table = TABLES[name]
    plan = plan_of(name)

    found = [(row, status_of(plan, row)) for row, _ in table.rows]

    assert found == list(table.rows)


@pytest.mark.parametrize("name", TABLES)
def test_a_reader_survives_being_written_as_a_document(name: str) -> None:
    checked = parse_consent_mapping(TABLES[name].mapping)

    assert parse_mapping_document(json.loads(json.dumps(mapping_document(checked)))) == checked


def test_every_reader_of_columns_has_a_table() -> None:
    of_documents = {table.reader for file in FILES for table in tables(file)}
    with_tables = {table.reader for table in TABLES.values()} | of_documents
    readers = {
        name
        for name in consent.__all__
        if ".readers." in getattr(getattr(consent, name), "__module__", "")
        and not name.endswith(("_events", "_updates", "_hits", "_column"))
    }

    assert readers <= with_tables
    assert all({status for _, status in table.rows} & {"denied", "unknown"} for table in TABLES.values())


def literals_of(mapping: ConsentMapping) -> list[Literals]:
    """Return the literals of a mapping, with those inside `OptOut`."""
    signals = [record.signal for _, entry in mapping.entries for record in records_of(entry)]
    turned = [signal.signal if isinstance(signal, OptOut) else signal for signal in signals]
    return [signal for signal in turned if isinstance(signal, Literals)]


@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if table.reader in LITERALS])
def test_a_reader_of_one_column_grants_on_its_documented_yes_only(name: str) -> None:
    table = TABLES[name]
    plan = plan_of(name)
    (column,) = table.kinds
    values = {value for literals in literals_of(parse_consent_mapping(table.mapping)) for value in literals.alphabet}

    granted = {value for value in values if status_of(plan, {column: value}) == "granted"}

    assert granted == {*LITERALS[table.reader]}


def edits(text: str) -> set[str]:
    """Return every text that is one character away: one more, one less, another, or two in turn."""
    letters = "yN1 _[]"
    places = range(len(text) + 1)
    return {
        *(text[:at] + letter + text[at:] for at in places for letter in letters),
        *(text[:at] + text[at + 1 :] for at in places),
        *(text[:at] + letter + text[at + 1 :] for at in range(len(text)) for letter in letters),
        *(text[:at] + text[at].swapcase() + text[at + 1 :] for at in range(len(text))),
        *(text[:at] + text[at + 1] + text[at] + text[at + 2 :] for at in range(len(text) - 1)),
    } - {text}


# In a list of ids, one character makes another id, which nothing was said about.
OF_IDS = ("iterable_", "rudderstack_", "commanders_act_")
OF_STATES = [name for name, table in TABLES.items() if not table.reader.startswith(OF_IDS)]


@pytest.mark.no_cover
@pytest.mark.parametrize("name", OF_STATES)
def test_one_character_more_or_less_never_turns_a_no_into_a_yes(name: str) -> None:
    table = TABLES[name]
    plan = plan_of(name)
    refused = [row for row, status in table.rows if status == "denied"]

    turned = [
        (row, column, changed)
        for row in refused
        for column, value in row.items()
        if isinstance(value, str)
        for changed in edits(value)
        if status_of(plan, {**row, column: changed}) == "granted"
    ]

    assert turned == []


@pytest.mark.parametrize("name", [name for name in TABLES if "text" in TABLES[name].kinds.values()])
@given(data=st.data())
def test_no_other_text_grants(name: str, data: st.DataObject) -> None:
    table = TABLES[name]
    plan = plan_of(name)
    granting = [row for row, status in table.rows if status == "granted"] or [table.rows[0][0]]
    row = data.draw(st.sampled_from(granting))
    column = data.draw(st.sampled_from([column for column, kind in table.kinds.items() if kind == "text"]))
    known = {one[column] for one, status in table.rows if one[column] is not None}
    # A list that is read from JSON may grant with other spaces, order and ids.
    text = data.draw(st.text().filter(lambda text: text not in known and "[" not in text and "," not in text))

    found = status_of(plan, {**row, column: text})

    assert found in {"invalid", "denied", "unknown"}


@pytest.mark.parametrize(
    ("category", "column"),
    [
        ("C0004", "c0004"),
        ("V2STACK42", "v2stack42"),
        ("C1A", "c1a"),
        ("A1B2C3", "a1b2c3"),
        ("5Ads", "5ads"),
        ("3P_Ads", "3p_ads"),
        ("Ads_", "ads"),
        ("publicité", "publicit"),
        ("publicité_web", "publicit_web"),
        ("dataSharing", "data_sharing"),
        ("DataSharing", "data_sharing"),
        ("HTTPServer", "httpserver"),
        ("ads & more", "ads_more"),
        ("ads-2", "ads_2"),
        ("c1-2", "c_1_2"),
        ("SPD_BG", "spd_bg"),
        ("_ads", "_ads"),
        ("ads__web", "ads_web"),
        ("already_snake_1", "already_snake_1"),
        ("12", "12"),
        ("abc5Def", "abc_5def"),
    ],
)
def test_segments_library_names_the_columns(category: str, column: str) -> None:
    assert segment_column(category) == f"context_consent_category_preferences_{column}"


def test_categories_without_a_column_of_their_own_are_refused() -> None:
    with pytest.raises(PolicyError, match="two of Segment's categories have the same column"):
        segment_preferences("C0004", "c0004")
    for category in ("", "é", "-", "_"):
        with pytest.raises(PolicyError, match="Segment has no column for an id without letters and digits"):
            segment_column(category)


def test_a_way_of_writing_that_hubspot_does_not_have_is_refused() -> None:
    with pytest.raises(PolicyError, match="expected `boolean`, `text` or `status`"):
        hubspot_opt_out("portal", written="number")  # type: ignore[arg-type]


@pytest.mark.parametrize("column", ["can_receive_email_marketing", "email.CAN_RECEIVE_SMS_MARKETING"])
def test_klaviyos_implicit_consent_is_refused(column: str) -> None:
    for reader in (klaviyo_consent, klaviyo_marketing):
        with pytest.raises(PolicyError, match="is true for people who never said yes"):
            reader(column)
