"""Tests of consent formats: each has the meaning of its table, and refuses invalid declarations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl import consent
from airflow_consent_retl.consent import (
    BitMask,
    CategorySignal,
    ConsentStatus,
    GoogleConsent,
    GrantedId,
    GrantedIds,
    OptanonConsent,
    OptanonConsentGroup,
    WholeConsent,
)
from airflow_consent_retl.errors import PolicyError

TABLES = json.loads((Path(__file__).parents[1] / "cases" / "consent_formats.json").read_text())


def cases() -> list[Any]:
    found = []
    for table in TABLES:
        declared = getattr(consent, table["format"])(**table["parameters"])
        for raw, expected in table["values"]:
            statuses = expected.items() if isinstance(expected, dict) else [("", expected)]
            for category, status in statuses:
                signal = declared.for_category(category, category) if isinstance(declared, WholeConsent) else declared
                found.append(pytest.param(signal, raw, status, id=f"{table['format']} {raw!r} {category}"))
    return found


@pytest.mark.parametrize(("signal", "raw", "status"), cases())
def test_a_raw_value_has_the_status_of_the_table(signal: CategorySignal, raw: object, status: str) -> None:
    assert signal.status(signal.token(raw)) is ConsentStatus(status)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: OptanonConsent(""), "OptanonConsent.column"),
        (lambda: OptanonConsent("x", gpc="maybe"), "OptanonConsent.gpc"),
        (lambda: OptanonConsentGroup("x", ""), "OptanonConsentGroup.group"),
        (lambda: GoogleConsent(""), "GoogleConsent.column"),
        (lambda: GrantedIds("x", separator=""), "GrantedIds.separator"),
        (lambda: GrantedId("x", " "), "GrantedId.id"),
        (lambda: GrantedId("x", "a,b", separator=","), "GrantedId.id"),
        (lambda: BitMask("x", bit=-1), "BitMask.bit"),
        (lambda: BitMask("x", bit=63), "BitMask.bit"),
        (lambda: BitMask("x", bit=True), "BitMask.bit"),
    ],
)
def test_refuses_a_declaration_that_could_mislead(make: Callable[[], object], path: str) -> None:
    with pytest.raises(PolicyError) as caught:
        make()

    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize("text", ["", "granted ", "Granted", "YES", "CONSENT_GRANTED_"])
def test_another_state_than_those_of_google_is_invalid(text: str) -> None:
    assert GoogleConsent("ads").read(text) is ConsentStatus.INVALID
