"""Tests of the columns beside a category's answer: one that is missing in the model is a problem of the category."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    ColumnKind,
    ConsentMapping,
    ConsentMappingLike,
    ExcludedDestinations,
    Recorded,
    RowConsent,
    parse_consent_mapping,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 24, tzinfo=UTC)
TERMS: dict[str, Any] = {"max_age": "1 year", "min_notice_version": "2.1"}


def problems_of(mapping: ConsentMappingLike | ConsentMapping, *categories: dict[str, Any]) -> list[str]:
    named = [{"name": one["id"], "destinations": ["webhook"], **one} for one in categories]
    columns = {"ads_ok": ColumnKind.BOOLEAN, "stats_ok": ColumnKind.BOOLEAN, "mail": ColumnKind.TEXT}
    with pytest.raises(PolicyError) as caught:
        plan_consent(
            parse_policy({"categories": named}), destinations=["webhook"], mapping=mapping, columns=columns, at=AT
        )
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("record", "terms", "missing"),
    [
        (Recorded("ads_ok", time="when", notice_version="which"), TERMS, ["when", "which"]),
        (Recorded("ads_ok", valid_from="begin", valid_until="finish"), {}, ["begin", "finish"]),
    ],
)
def test_a_record_needs_each_column_that_it_names(record: Recorded, terms: dict[str, Any], missing: list[str]) -> None:
    assert problems_of({"C0004": record}, {"id": "C0004", **terms}) == [
        f"column `{column}` is not in the model @ consent.C0004" for column in missing
    ]


def test_the_doubts_and_lists_of_sources_have_to_be_there() -> None:
    mapping = parse_consent_mapping({"C0004": "ads_ok"}).with_elsewhere(
        doubts={"ads_ok": "unsure"}, suppressions=["never", "mail"]
    )

    assert problems_of(mapping, {"id": "C0004"}) == [
        "column `unsure` is not in the model @ consent.C0004",
        "column `never` is not in the model @ consent.suppressions",
        "column `mail` is text, expected boolean: declare the values that grant, "
        "Literals('mail', granted=(...), denied=(...)) @ consent.suppressions",
    ]


def test_the_other_inputs_of_a_row_have_to_be_there() -> None:
    row = RowConsent({"C0004": "ads_ok"}, region="where", gpc="browser", switches=ExcludedDestinations("not_to"))

    assert problems_of(row, {"id": "C0004", "regions": {"DE": "opt_in"}}) == [
        "column `where` is not in the model @ consent.region",
        "column `browser` is not in the model @ consent.gpc",
        "column `not_to` is not in the model @ consent.switches",
    ]


def test_a_regime_by_region_needs_the_region() -> None:
    regional = [{"id": id_, "regions": {"DE": "opt_in"}} for id_ in ("C0002", "C0004")]

    assert problems_of({"C0002": "stats_ok", "C0004": "ads_ok"}, *regional) == [
        "the regime of `C0002`, `C0004` depends on the region: name the `region` column @ consent.region"
    ]
