"""Tests of records as they lie in warehouses: each has the status of its table, and a small change is never a yes.

The tables are in `cases/records`, one file for each source: see `support.records`.
"""

from __future__ import annotations

import json

import pytest
from support.records import FILES, documented_words, edits_of, tables, value_of

from airflow_consent_retl.consent import CategorySignal, ConsentStatus
from airflow_consent_retl.consent.format_document import format_document, parse_signal


def status(signal: CategorySignal, raw: str | None) -> ConsentStatus:
    return signal.status(signal.token(raw))


@pytest.mark.parametrize("file", FILES)
def test_each_row_has_the_status_of_its_table(file: str) -> None:
    wrong = [
        (table.reader, raw, expected, str(found))
        for table in tables(file)
        for signal, raw, expected in table.rows
        if (found := status(signal, raw)) is not ConsentStatus(expected)
    ]

    assert wrong == []


@pytest.mark.parametrize("file", FILES)
def test_a_signal_is_the_same_after_it_was_written_as_a_document(file: str) -> None:
    signals = {signal for table in tables(file) for signal, _, _ in table.rows}

    assert {parse_signal(json.loads(json.dumps(format_document(signal)))) for signal in signals} == signals


@pytest.mark.parametrize("file", FILES)
def test_whatever_grants_contains_the_documented_yes(file: str) -> None:
    for table in tables(file):
        granting = [raw for signal, raw, expected in table.rows if expected == "granted"]

        assert bool(granting) == (table.yes is not None)
        assert all(table.says_yes(raw) for raw in granting)


@pytest.mark.parametrize("file", FILES)
def test_a_value_that_differs_by_one_character_never_turns_a_no_into_a_yes(file: str) -> None:
    words = documented_words(file)
    turned = []
    for table in tables(file):
        for signal, raw, expected in table.rows:
            if raw is None or expected != "denied":
                continue
            turned += [
                edited
                for edited, word in edits_of(raw)
                if value_of(word) not in words and status(signal, edited) is ConsentStatus.GRANTED
            ]

    assert turned == []


@pytest.mark.parametrize("file", FILES)
def test_a_yes_whose_values_change_by_one_character_is_none_unless_it_still_says_yes(file: str) -> None:
    for table in tables(file):
        for signal, raw, expected in table.rows:
            if raw is None or expected != "granted":
                continue
            for edited, _ in edits_of(raw):
                assert table.says_yes(edited) or status(signal, edited) is not ConsentStatus.GRANTED
