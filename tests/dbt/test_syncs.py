"""Syncs of dbt models in a DAG: what `meta` declares, what the DAG adds, and what neither may say twice."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from support.dbt_project import MANIFESTS, declaring, write_manifest

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.dbt.manifest_file import read_manifest
from airflow_consent_retl.dbt.meta import dbt_model
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToWebhookOperator
from airflow_consent_retl.sync import consent_sync

WEBHOOK = {"conn_id": "crm", "endpoint": "/people", "fields": {"id": "user_id"}}
META = {"primary_key": "user_id", "consent": {"C0004": "ads_ok"}}
LOAD = partial(LoadToWebhookOperator, conn_id="own", endpoint="/own", fields={"id": "user_id"})


def built(manifest: Path, **parameters: Any) -> dict[str, Any]:
    with DAG("shop", schedule=None) as dag:
        consent_sync.from_dbt(manifest, model="customers", conn_id="warehouse", prune=False, **parameters)
    return dict(dag.task_dict)


def test_a_sync_is_built_of_meta_alone(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, declaring({**META, "destinations": {"webhook": WEBHOOK}}))

    tasks = built(manifest, policy="variable:consent_policy")

    extract, consent, load = (tasks[f"customers.{name}"] for name in ("extract", "consent", "load_webhook"))
    assert isinstance(extract, ExtractModelOperator)
    assert isinstance(consent, ConsentFilterOperator)
    assert isinstance(load, LoadToWebhookOperator)
    assert (extract.model, extract.conn_id, extract.primary_key) == ("customers", "warehouse", "user_id")
    assert extract.sql == 'SELECT * FROM "shop"."main"."customers"\n'
    assert consent.destinations == ["webhook"]
    assert (load.conn_id, load.endpoint, load.fields) == ("crm", "/people", {"id": "user_id"})


def test_the_dag_gives_loads_that_meta_only_names(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, declaring({**META, "destinations": ["crm_table"]}))

    tasks = built(manifest, loads={"crm_table": LOAD}, group_id="shop")

    assert tasks["shop.load_crm_table"].conn_id == "own"


def test_the_dag_names_the_destinations_where_meta_names_none(tmp_path: Path) -> None:
    assert "customers.load_ads" in built(write_manifest(tmp_path, declaring(META)), loads={"ads": LOAD})


@pytest.mark.parametrize(
    ("destinations", "loads", "given", "message"),
    [
        ({"webhook": None}, {}, {}, "destination `webhook` has no load"),
        ({"webhook": WEBHOOK}, {"webhook": LOAD}, {}, "has a load in `meta` and in `loads`"),
        ({"webhook": WEBHOOK}, {"web_hook": LOAD}, {}, "no destination in its `meta`, did you mean `webhook`?"),
        ({"webhook": WEBHOOK}, {}, {"primary_key": "id"}, "`primary_key` is declared by the `meta`"),
        ({"webhook": WEBHOOK}, {}, {"consent": {"C0004": "yes"}}, "`consent` is declared by the `meta`"),
        ({"webhook": WEBHOOK}, {}, {"sql": "SELECT 1"}, "`sql` is declared by the `meta`"),
        (None, {}, {}, "neither its `meta` nor `loads` names a destination"),
    ],
)
def test_what_is_declared_twice_or_not_at_all_is_refused(
    tmp_path: Path, destinations: Any, loads: Any, given: Any, message: str
) -> None:
    meta = META if destinations is None else {**META, "destinations": destinations}

    with pytest.raises(ConfigurationError) as refused:
        built(write_manifest(tmp_path, declaring(meta)), loads=loads, **given)

    assert message in str(refused.value)


def test_a_relative_path_is_refused_since_dags_are_parsed_anywhere() -> None:
    with pytest.raises(ConfigurationError, match=r"write `Path\(__file__\)\.parent"):
        built(Path("target/manifest.json"))


def test_an_extract_says_what_the_manifest_says(tmp_path: Path) -> None:
    manifest, extract = MANIFESTS / "v12.json", tmp_path / "extract.json"

    assert main(["dbt-extract", "--manifest", str(manifest), "--output", str(extract)]) == 0

    assert extract.stat().st_size < manifest.stat().st_size / 4
    for name in ("customers", "accounts", "accounts.v1"):
        assert dbt_model(extract, name) == dbt_model(manifest, name)
    with pytest.raises(ConfigurationError, match=r"`former` of .* is disabled"):
        dbt_model(extract, "former")


def test_the_check_of_an_extract_ends_with_1_when_a_model_changed(tmp_path: Path) -> None:
    command = ["dbt-extract", "--manifest", str(tmp_path / "manifest.json"), "--output", str(tmp_path / "extract.json")]
    write_manifest(tmp_path, declaring(META))
    codes = [main(command), main([*command, "--check"])]
    write_manifest(tmp_path, declaring({**META, "name": "people"}))
    codes += [main([*command, "--check"]), main(command), main([*command, "--check"])]

    assert codes == [0, 0, 1, 0, 0]
    assert dbt_model(tmp_path / "extract.json", "customers").name == "people"


def test_an_extract_of_a_later_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "extract.json").write_text(json.dumps({"consent_retl_extract": 99}))

    with pytest.raises(ConfigurationError, match="is an extract of version 99, this release reads 1"):
        read_manifest(tmp_path / "extract.json")


def test_an_extract_is_refused_with_the_problems_of_every_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"unique_id": "model.shop.orders", "name": "orders", "relation_name": "orders"}
    write_manifest(tmp_path, declaring({"primary_ky": "id"}), declaring({"nam": "x", "primary_key": "id"}, **other))

    code = main(["dbt-extract", "--manifest", str(tmp_path / "manifest.json"), "--output", str(tmp_path / "out.json")])

    printed = capsys.readouterr().err
    assert code == 2
    assert "did you mean `primary_key`?" in printed
    assert "did you mean `name`?" in printed
    assert not (tmp_path / "out.json").exists()


PARSED = """
import sys
from pathlib import Path
from airflow.sdk import DAG
from airflow_consent_retl.sync import consent_sync
with DAG("shop", schedule=None):
    consent_sync.from_dbt(Path(sys.argv[1]), model="customers", conn_id="w", prune=False)
print(sorted({"duckdb", "ibis", "pandas", "pyarrow", "sqlalchemy", "sqlglot", "yaml"} & set(sys.modules)))
"""
WITHOUT = PARSED.replace('consent_sync.from_dbt(Path(sys.argv[1]), model="customers", conn_id="w", prune=False)', "...")


@pytest.mark.long
def test_parsing_a_dag_with_a_dbt_model_loads_no_engine(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, declaring({**META, "destinations": {"webhook": WEBHOOK}}))

    loaded = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, str(manifest)], check=True, capture_output=True, text=True
        ).stdout
        for script in (PARSED, WITHOUT)
    ]

    assert loaded[0] == loaded[1]
