"""Tests of the switches of a row by destination: what is no switch excludes the row."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_consent_retl.consent import ConsentStatus
from airflow_consent_retl.consent.switches import ExclusionSwitch, IntegrationSwitch, switch_status

OBJECT = IntegrationSwitch("off", ("CRM", "crm"))
ARRAY = ExclusionSwitch("off", ("CRM", "crm"))


@pytest.mark.parametrize("switch", [OBJECT, ARRAY], ids=["object", "array"])
@pytest.mark.parametrize("raw", [7, 0, True, False, b"null", ["crm"], {"crm": True}, object(), 1.5])
def test_a_value_that_is_no_text_cannot_be_read(switch: Any, raw: object) -> None:
    assert switch.token(raw) == switch.unlisted_token == 2


@pytest.mark.parametrize("switch", [OBJECT, ARRAY], ids=["object", "array"])
@pytest.mark.parametrize("raw", [None, "null", " null\n"])
def test_a_row_without_switches_excludes_nothing(switch: Any, raw: str | None) -> None:
    assert switch.token(raw) == 0


def test_only_a_switch_that_is_on_excludes_nothing() -> None:
    assert [switch_status(token) for token in range(3)] == [
        ConsentStatus.GRANTED,
        ConsentStatus.DENIED,
        ConsentStatus.INVALID,
    ]
