"""Exposures: which syncs of DAGs read a project's relations, and the file that is written for them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from airflow.sdk import DAG
from support.dbt_project import model, write_manifest

from airflow_consent_retl.consent import ConsentSource
from airflow_consent_retl.dbt.exposures import exposed_syncs, exposures_text
from airflow_consent_retl.dbt.manifest_file import Manifest, read_manifest
from airflow_consent_retl.dbt.written import write_files
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import LoadOperator, LoadToWebhookOperator
from airflow_consent_retl.sync import consent_sync

LOAD = partial(LoadToWebhookOperator, conn_id="crm", endpoint="/people", fields={"id": "id"}, owner="growth")


def loads(sql: str, *destinations: str, sources: Any = ()) -> list[Any]:
    with DAG("shop", schedule=None) as dag:
        consent_sync(
            "people",
            conn_id="warehouse",
            sql=sql,
            primary_key="id",
            consent={"C0004": "ads_ok"},
            consent_sources=sources,
            loads=dict.fromkeys(destinations or ("webhook",), LOAD),
            prune=False,
        )
    return [task for task in dag.tasks if isinstance(task, LoadOperator)]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    versioned = {"unique_id": "model.shop.accounts.v2", "version": 2, "latest_version": 2}
    other = {"unique_id": "model.crm.opt_outs", "package_name": "crm", "relation_name": '"shop"."crm"."opt_outs"'}
    return read_manifest(
        write_manifest(
            tmp_path,
            model("customers"),
            model("accounts", **versioned),
            model("opt_outs", **other),
            exposures={
                "exposure.shop.report": {
                    "name": "consent_retl__people__report",
                    "package_name": "shop",
                    "original_file_path": "models/reports.yml",
                }
            },
        )
    )


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ('SELECT * FROM "shop"."main"."customers"', ["customers"]),
        ("SELECT * FROM main.CUSTOMERS c JOIN shop.main.accounts a USING (id)", ["accounts", "customers"]),
        ("WITH customers AS (SELECT 1 AS id) SELECT * FROM customers", []),
        ("SELECT * FROM other.customers", []),
        ("SELECT * FROM {{ params.table }}", []),
        ("this is no SQL (", []),
    ],
)
def test_a_sync_is_found_by_the_relations_that_its_sql_names(manifest: Manifest, sql: str, reads: list[str]) -> None:
    found = exposed_syncs(loads(sql), manifest)

    assert [node.name for one in found for node in one.depends_on] == reads


def test_a_consent_source_is_a_dependency_too(manifest: Manifest) -> None:
    source = ConsentSource("SELECT id, ok FROM crm.opt_outs", subject="id", columns=["ok"])

    (found,) = exposed_syncs(loads("SELECT * FROM main.customers", sources=[source]), manifest)

    assert [node.name for node in found.depends_on] == ["opt_outs", "customers"]


def test_an_exposure_names_its_references_its_owner_and_its_destination(manifest: Manifest) -> None:
    sql = "SELECT * FROM main.customers JOIN main.accounts USING (id) JOIN crm.opt_outs USING (id)"

    text = exposures_text(exposed_syncs(loads(sql, "ads:emea"), manifest), manifest, file="models/ours.yml")

    (written,) = yaml.safe_load(text)["exposures"]
    assert written["name"] == "consent_retl__people__ads_emea"
    assert written["depends_on"] == ["ref('crm', 'opt_outs')", "ref('accounts', v=2)", "ref('customers')"]
    assert written["owner"] == {"name": "growth"}
    assert written["config"]["meta"]["consent_retl"]["destination"] == "ads:emea"


def test_before_dbt_1_10_meta_is_beside_the_other_keys(manifest: Manifest) -> None:
    manifest.metadata.dbt_version = "1.9.4"

    text = exposures_text(exposed_syncs(loads("SELECT * FROM main.customers"), manifest), manifest, file="models/o.yml")

    (written,) = yaml.safe_load(text)["exposures"]
    assert "config" not in written
    assert written["meta"]["consent_retl"]["sync"] == "people/webhook"


def test_names_that_would_be_equal_get_a_digest(manifest: Manifest) -> None:
    found = exposed_syncs(loads("SELECT * FROM main.customers", "ads:emea", "ads_emea"), manifest)

    names = [one["name"] for one in yaml.safe_load(exposures_text(found, manifest, file="m.yml"))["exposures"]]

    assert len(set(names)) == 2
    assert all(name.startswith("consent_retl__people__ads_emea_") for name in names)


def test_an_exposure_of_somebody_elses_file_is_not_taken_over(manifest: Manifest) -> None:
    found = exposed_syncs(loads("SELECT * FROM main.customers", "report"), manifest)

    with pytest.raises(ConfigurationError, match=r"models/reports\.yml of the dbt project has an exposure"):
        exposures_text(found, manifest, file="shop/models/ours.yml")
    assert exposures_text(found, manifest, file="shop/models/reports.yml")


def test_a_file_that_is_not_ours_is_never_overwritten(tmp_path: Path) -> None:
    foreign = tmp_path / "exposures.yml"
    foreign.write_text("exposures: []\n")

    with pytest.raises(ConfigurationError, match="was not written by this command"):
        write_files({foreign: "# Written by consent-retl\n", tmp_path / "other.yml": "# Written by consent-retl\n"})

    assert foreign.read_text() == "exposures: []\n"
    assert not (tmp_path / "other.yml").exists()
