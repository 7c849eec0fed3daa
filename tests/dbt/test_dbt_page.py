"""The examples of docs/dbt.md: the model's YAML, as dbt puts it into a manifest, and the DAG that reads its extract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from airflow.sdk import DAG
from support.dbt_project import TESTS, model, write_manifest

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.consent.mapping import parse_consent_mapping
from airflow_consent_retl.dbt.manifest_file import SCHEMA_VERSIONS
from airflow_consent_retl.dbt.meta import dbt_model

PAGE = (TESTS.parent / "docs" / "dbt.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def manifest_of_the_page(folder: Path, text: str) -> Path:
    (declared,) = yaml.safe_load(text)["models"]
    columns = {column["name"]: column for column in declared.get("columns", [])}
    return write_manifest(folder, model(declared["name"], config=declared["config"], columns=columns))


def test_the_model_and_the_dag_of_the_page_are_a_sync(tmp_path: Path) -> None:
    manifest = manifest_of_the_page(tmp_path, blocks("yaml")[0])
    assert main(["dbt-extract", "--manifest", str(manifest), "--output", str(tmp_path / "shop_models.json")]) == 0

    names: dict[str, Any] = {"__file__": str(tmp_path / "dag.py")}
    (code,) = blocks("python")
    # `tests/e2e/dags/readme.py` runs the blocks that name their DAG `dag`; this one needs a file.
    exec(code.replace('"@hourly"):', '"@hourly") as dag:'), names)  # noqa: S102 - the page is this repository's own

    dag: DAG = names["dag"]
    assert {"customers.load_webhook", "customers.load_crm_table"} <= dag.task_dict.keys()


def test_the_columns_of_the_page_have_the_roles_that_it_says(tmp_path: Path) -> None:
    found = dbt_model(manifest_of_the_page(tmp_path, blocks("yaml")[0]), "customers")

    assert found.consent is not None
    mapping = parse_consent_mapping(found.consent)
    assert found.primary_key == "user_id"
    assert set(mapping.columns) == {"analytics_ok", "ads", "ads_changed_at", "has_opted_out_of_email"}


def test_the_error_of_the_page_is_the_error(tmp_path: Path, capfd: Any) -> None:
    manifest = manifest_of_the_page(tmp_path, blocks("yaml")[0].replace("endpoint:", "endpont:"))

    main(["dbt-extract", "--manifest", str(manifest), "--output", str(tmp_path / "out.json")])

    (shown,) = blocks("text")
    assert shown in capfd.readouterr().err


def test_the_page_names_the_versions_that_are_read() -> None:
    assert all(f"v{number}" in PAGE for number in SCHEMA_VERSIONS)


def test_the_commands_of_the_page_are_verbs_with_these_options(capfd: Any) -> None:
    for command in blocks("console"):
        verb, *options = command.removeprefix("$ consent-retl ").split()
        assert main([verb, "--help"]) == 0
        shown = capfd.readouterr().out
        assert all(option in shown for option in options if option.startswith("--")), command
