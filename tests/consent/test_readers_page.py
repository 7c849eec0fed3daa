"""Tests of the page on ready-made readers: its examples run, and it has a line for every reader."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl import consent
from airflow_consent_retl.consent import parse_consent_mapping, parse_policy, plan_consent

PAGE = Path(__file__).parents[2] / "docs" / "readers.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
AT = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_is_a_mapping_that_can_be_planned(number: int) -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS[number], names)  # noqa: S102 - the page is this repository's own
    mapping = parse_consent_mapping(names["consent"]).with_sources(names.get("sources", []))
    categories = [{"id": one, "name": one, "destinations": ["webhook"]} for one in mapping.category_ids]

    plan = plan_consent(
        parse_policy({"categories": categories}), destinations=["webhook"], mapping=mapping, columns=None, at=AT
    )

    assert plan.categories == mapping.category_ids


def test_every_reader_of_columns_is_on_the_page() -> None:
    readers = {name for name in consent.__all__ if ".readers." in getattr(getattr(consent, name), "__module__", "")} - {
        "segment_column"
    }

    assert {name for name in readers if f"`{name}(" not in PAGE.read_text()} == set()
