"""Tests for dbt: what a consent mapping expects of its columns, and what a policy needs of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.dbt_project import declaring, write_manifest

from airflow_consent_retl.consent import (
    ConsentObject,
    GrantedId,
    Literals,
    OptOut,
    Recorded,
    RowConsent,
    parse_policy,
)
from airflow_consent_retl.consent.mapping import parse_consent_mapping
from airflow_consent_retl.dbt.data_tests import ExpectedColumn, data_test_files, expected_columns, own_test_files
from airflow_consent_retl.dbt.manifest_file import read_manifest
from airflow_consent_retl.dbt.written import write_files
from airflow_consent_retl.errors import ConfigurationError, PolicyError

POLICY = {
    "unmapped_destinations": "deny",
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["webhook"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["webhook", "ads"]},
    ],
}
WEBHOOK = {"conn_id": "crm", "endpoint": "/", "fields": {"id": "id"}}


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"C": "ok"}, {"ok": ExpectedColumn(("boolean",))}),
        (
            {"C": Literals("ads", granted=("yes",), denied=("no",), unknown=("unset",), expired=("old",))},
            {"ads": ExpectedColumn(("text",), ("yes", "no", "unset", "old"))},
        ),
        ({"C": Literals("ads", granted=(1,), denied=(0,))}, {"ads": ExpectedColumn(("integer",), (1, 0))}),
        ({"C": OptOut(Literals("mail", granted=("out",)))}, {"mail": ExpectedColumn(("text",), ("out",))}),
        ({"C": Recorded(GrantedId("ids", "C"), time="at")}, {"ids": ExpectedColumn(("text", "json"))}),
        (
            {"A": Literals("x", granted=("a",)), "B": Literals("x", granted=("b",))},
            {"x": ExpectedColumn(("text",), ("a", "b"))},
        ),
        (
            RowConsent(ConsentObject("consent"), region="country"),
            {
                "consent": ExpectedColumn(("text", "json")),
                "country": ExpectedColumn(("text",)),
            },
        ),
    ],
)
def test_each_format_expects_its_types_and_the_values_that_it_knows(mapping: Any, expected: dict[str, Any]) -> None:
    assert expected_columns(parse_consent_mapping(mapping)) == expected


def files_of(folder: Path, meta: dict[str, Any], **parameters: Any) -> dict[Path, str]:
    manifest = read_manifest(write_manifest(folder, declaring({"primary_key": "id", **meta})))
    return data_test_files(manifest, folder, **parameters)


def test_a_model_without_a_column_for_a_category_that_its_destination_needs_is_refused(tmp_path: Path) -> None:
    meta = {"consent": {"C0004": "ads_ok", "C004": "x"}, "destinations": {"webhook": WEBHOOK, "adds": None}}

    with pytest.raises(PolicyError) as refused:
        files_of(tmp_path, meta, policy=parse_policy(POLICY))

    assert [str(one) for one in refused.value.problems] == [
        "category `C004` is not in the policy, did you mean `C0004`? @ customers.meta.consent_retl.consent",
        "destination `webhook` needs category `C0002`, which has no column @ customers.meta.consent_retl.consent",
        "the policy maps no category to `adds`, did you mean `ads`? @ customers.meta.consent_retl.destinations",
    ]


def test_a_test_is_written_for_each_model_and_an_old_one_is_removed(tmp_path: Path) -> None:
    old = tmp_path / "tests" / "consent_retl" / "consent_retl_gone.sql"
    old.parent.mkdir(parents=True)
    old.write_text("-- Written by consent-retl\n")
    texts = files_of(tmp_path, {"consent": {"C0004": "ads_ok"}}, max_null_share=0.1)

    states = {Path(one.path).name: one.state for one in write_files(texts, stale=own_test_files(tmp_path))}

    assert states == {
        "consent_retl_columns.sql": "new",
        "consent_retl_customers.sql": "new",
        "consent_retl_gone.sql": "removed",
    }
    test = (old.parent / "consent_retl_customers.sql").read_text()
    assert '"ads_ok": {"types": ["boolean"], "max_null_share": 0.1}' in test
    assert 'ref("customers")' in test


def test_a_share_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        files_of(tmp_path, {"consent": {"C0004": "ads_ok"}}, max_null_share=2)
