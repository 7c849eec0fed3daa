"""Models that a DAG names in a manifest of any version of dbt; without rows, they are refused with a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.dbt_project import MANIFESTS, declaring, model, write_manifest

from airflow_consent_retl.consent import Literals
from airflow_consent_retl.consent.mapping import parse_consent_mapping
from airflow_consent_retl.dbt.manifest_file import read_manifest
from airflow_consent_retl.dbt.meta import dbt_model
from airflow_consent_retl.errors import ConfigurationError


@pytest.mark.parametrize("version", ["v10", "v11", "v12"])
def test_a_model_is_read_from_the_manifest_of_each_version_of_dbt(version: str) -> None:
    found = dbt_model(MANIFESTS / f"{version}.json", "customers")

    assert (found.unique_id, found.name, found.primary_key) == ("model.shop.customers", "customers", "user_id")
    assert found.sql == 'SELECT * FROM "shop"."main"."customers"\n'
    assert found.consent is not None
    records = {str(category): entry for category, entry in parse_consent_mapping(found.consent).entries}
    assert set(records) == {"C0002", "C0004", "C0007"}
    assert records["C0004"].signal == Literals("ads", granted=("yes",), denied=("no",))  # type: ignore[union-attr]
    assert list(found.destinations) == ["crm_table", "webhook"]


@pytest.mark.parametrize("version", ["v10", "v11", "v12"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("recent", "is ephemeral: dbt builds no relation of it"),
        ("former", "is disabled: dbt does not build it"),
        ("orders", "declares no sync: its `meta` has no key `consent_retl`"),
        ("custmers", "has no dbt model `custmers`, did you mean `customers`?"),
    ],
)
def test_a_model_without_rows_or_without_meta_is_refused_with_a_sentence(version: str, name: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        dbt_model(MANIFESTS / f"{version}.json", name)

    assert message in str(refused.value)


def test_the_latest_version_of_a_model_is_meant_unless_another_one_is_named() -> None:
    manifest = MANIFESTS / "v12.json"

    relations = [dbt_model(manifest, name).relation for name in ("accounts", "accounts.v1", "shop.accounts.v2")]

    assert [relation.rpartition(".")[2] for relation in relations] == [
        '"accounts_v2"',
        '"accounts_v1"',
        '"accounts_v2"',
    ]


@pytest.mark.parametrize(
    ("adapter", "relation"),
    [
        ("snowflake", "ANALYTICS.MARTS.customers"),
        ("bigquery", "`project`.`marts`.`customers`"),
        ("postgres", '"shop"."marts"."customers"'),
        ("sqlserver", "[shop].[marts].[customers]"),
    ],
)
def test_a_relation_is_named_as_the_adapter_of_dbt_quotes_it(tmp_path: Path, adapter: str, relation: str) -> None:
    manifest = write_manifest(tmp_path, declaring({"primary_key": "id"}, relation_name=relation), adapter=adapter)

    assert dbt_model(manifest, "customers").sql == f"SELECT * FROM {relation}\n"


def test_a_name_of_two_packages_has_to_be_qualified(tmp_path: Path) -> None:
    other = declaring({"primary_key": "id"}, unique_id="model.crm.customers", package_name="crm", relation_name="b")
    manifest = write_manifest(tmp_path, declaring({"primary_key": "id"}), other)

    with pytest.raises(ConfigurationError, match=r"one of several: name one of `crm\.customers`, `shop\.customers`"):
        dbt_model(manifest, "customers")
    assert dbt_model(manifest, "crm.customers").relation == "b"


def test_a_manifest_of_a_later_schema_is_refused(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, model(), schema="v99")

    with pytest.raises(ConfigurationError, match=r"schema v99, written by dbt 1\.11\.16; this release reads v10, v11"):
        read_manifest(manifest)


@pytest.mark.parametrize("text", ["", "{", '{"nodes": 3}', "{}", '{"metadata": {"dbt_schema_version": "x"}}'])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match="is no dbt manifest"):
        read_manifest(path)


def test_a_missing_manifest_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run `dbt parse` there"):
        read_manifest(tmp_path)


def test_a_process_decodes_a_manifest_once_until_the_file_changes(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, model("one"))
    first, second = read_manifest(manifest), read_manifest(manifest)
    write_manifest(tmp_path, model("two"))
    os.utime(manifest, ns=(1, 1))

    third = read_manifest(manifest)

    assert first is second
    assert list(third.nodes) == ["model.shop.two"]


def test_reading_a_large_manifest_keeps_only_what_a_sync_needs(tmp_path: Path) -> None:
    code = "select 1 -- " + "x" * 100_000
    nodes = [model(f"m{number}", raw_code=code, compiled_code=code, description=code) for number in range(50)]
    manifest = write_manifest(tmp_path, *nodes)

    kept = read_manifest(manifest)

    assert manifest.stat().st_size > 15_000_000
    assert len(json.dumps([str(node) for node in kept.nodes.values()])) < 100_000
