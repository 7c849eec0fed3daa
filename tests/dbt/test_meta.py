"""The `meta` of a model: what it may declare, and every problem at once with its path and a near match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.dbt_project import declaring, model, write_manifest

from airflow_consent_retl.consent import Literals, OptOut
from airflow_consent_retl.consent.mapping import ConsentMapping, parse_consent_mapping
from airflow_consent_retl.dbt.load_options import LoadOptions, kinds
from airflow_consent_retl.dbt.meta import DbtModel, dbt_model
from airflow_consent_retl.errors import ConfigurationError

KEY = {"primary_key": "user_id"}


def parsed(folder: Path, *nodes: dict[str, Any]) -> DbtModel:
    return dbt_model(write_manifest(folder, *nodes), "customers")


def mapping_of(found: DbtModel) -> ConsentMapping:
    assert found.consent is not None
    return parse_consent_mapping(found.consent)


def refusal(folder: Path, *nodes: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        parsed(folder, *nodes)
    return str(refused.value).split("\n")


def column(**meta: Any) -> dict[str, Any]:
    return {"config": {"meta": {"consent_retl": meta}}}


def test_columns_declare_key_consent_time_and_opt_outs(tmp_path: Path) -> None:
    found = parsed(
        tmp_path,
        model(
            columns={
                "user_id": column(primary_key=True),
                "ads": column(consent={"category": "C0004", "granted": ["yes"], "denied": ["no"]}),
                "ads_at": column(time="C0004"),
                "no_mail": column(opt_out="C0005"),
                "country": column(region=True),
                "gpc": column(gpc=True),
                "read_at": column(as_of=True),
            }
        ),
    )

    mapping = mapping_of(found)
    records = {str(category): entry for category, entry in mapping.entries}
    assert found.primary_key == "user_id"
    assert found.parameters == {"as_of": "read_at"}
    assert records["C0004"].signal == Literals("ads", granted=("yes",), denied=("no",))  # type: ignore[union-attr]
    assert records["C0004"].time == "ads_at"  # type: ignore[union-attr]
    assert records["C0005"].signal == OptOut("no_mail")  # type: ignore[union-attr]
    assert (mapping.region, mapping.gpc and mapping.gpc.column) == ("country", "gpc")


def test_the_model_declares_consent_as_a_policy_does(tmp_path: Path) -> None:
    consent = {"C0002": "analytics_ok", "C0004": {"format": "Literals", "column": "ads", "granted": ["yes"]}}

    mapping = mapping_of(parsed(tmp_path, declaring({**KEY, "consent": consent})))

    assert mapping.columns == ("analytics_ok", "ads")


def test_destinations_name_a_kind_and_its_options(tmp_path: Path) -> None:
    table = {"load": "sql_table", "conn_id": "crm", "table": "people", "fields": {"id": "user_id"}, "mode": "upsert"}

    found = parsed(tmp_path, declaring({**KEY, "destinations": {"crm_table": table, "webhook": None}}))

    assert found.destinations == {
        "crm_table": LoadOptions("sql_table", {key: value for key, value in table.items() if key != "load"}),
        "webhook": None,
    }


def test_every_problem_is_reported_at_once_with_its_path_and_a_near_match(tmp_path: Path) -> None:
    meta = {
        "primry_key": "user_id",
        "consent": {"C0004": {"format": "Literals", "column": "ads", "granted": []}},
        "destinations": {
            "webhook": {"conn_id": "crm", "endpont": "/p", "fields": {"id": "user_id"}},
            "ads": {"load": "web_hook"},
            "crm_table": {
                "load": "sql_table",
                "conn_id": "crm",
                "table": "people",
                "fields": {},
                "absent": "withdrawn",
            },
        },
    }

    problems = refusal(tmp_path, declaring(meta, columns={"region": column(regoin=True)}))

    assert problems[0] == "dbt model `customers` (models/shop.yml) cannot become a sync, 9 problems:"
    at = "customers.meta.consent_retl"
    assert f"unknown key `primry_key`, did you mean `primary_key`? @ {at}.primry_key" in problems
    assert f"key `primary_key` is missing @ {at}.primary_key" in problems
    assert any("expected at least one literal that grants" in one and f"{at}.consent" in one for one in problems)
    assert f"unknown option `endpont`, did you mean `endpoint`? @ {at}.destinations.webhook.endpont" in problems
    assert f"option `endpoint` is missing @ {at}.destinations.webhook" in problems
    assert any("kind of destination `web_hook`, did you mean `webhook`?" in one for one in problems)
    assert any("expected the columns by the names of fields" in one for one in problems)
    assert any(one.startswith("`absent` belongs to the DAG") and "crm_table.absent" in one for one in problems)
    assert (
        "unknown key `regoin`, did you mean `region`? @ customers.columns.region.meta.consent_retl.regoin" in problems
    )


@pytest.mark.parametrize("place", ["primary_key", "name", "option", "column"])
def test_a_template_of_airflow_is_refused_wherever_it_is(tmp_path: Path, place: str) -> None:
    text = "{{ var.value.secret }}"
    options = {"conn_id": text if place == "option" else "crm", "endpoint": "/", "fields": {"id": "user_id"}}
    meta = {
        "primary_key": text if place == "primary_key" else "user_id",
        "name": text if place == "name" else "people",
        "destinations": {"webhook": options},
    }
    columns = {"ads": column(consent=text)} if place == "column" else {}

    problems = refusal(tmp_path, declaring(meta, columns=columns))

    assert any("`meta` has no Airflow templates: give this value in the DAG" in one for one in problems)


@pytest.mark.parametrize(
    "option",
    ["policy", "ledger_conn_id", "workspace", "max_removed_ratio", "allow_older", "accept_no_removal", "retries"],
)
def test_a_limit_that_protects_people_is_the_dags(tmp_path: Path, option: str) -> None:
    load = {"conn_id": "crm", "endpoint": "/", "fields": {"id": "user_id"}, option: None}

    problems = refusal(tmp_path, declaring({**KEY, "destinations": {"webhook": load}}))

    assert problems[1:] == [
        f"`{option}` belongs to the DAG: give the load of `webhook` there @ "
        f"customers.meta.consent_retl.destinations.webhook.{option}"
    ]


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_each_kind_of_destination_takes_its_operators_own_options(tmp_path: Path, kind: str) -> None:
    problems = refusal(tmp_path, declaring({**KEY, "destinations": {kind: {"no_such_option": 1}}}))

    assert any(one.startswith("unknown option `no_such_option`") for one in problems)
    assert any(one.startswith("option `fields` is missing") for one in problems)


def test_two_columns_for_one_category_are_refused(tmp_path: Path) -> None:
    columns = {"a": column(consent="C0004"), "b": column(consent="C0004"), "at": column(time="C0005")}

    problems = refusal(tmp_path, declaring(KEY, columns=columns))

    assert any("category `C0004` has a column already" in one for one in problems)
    assert any("no column of the model has `consent: C0005`, did you mean `C0004`?" in one for one in problems)


def test_meta_in_two_places_has_to_agree(tmp_path: Path) -> None:
    node = declaring(KEY)
    same = parsed(tmp_path, {**node, "meta": {"consent_retl": KEY}})

    problems = refusal(tmp_path, {**node, "meta": {"consent_retl": {"primary_key": "id"}}})

    assert same.primary_key == "user_id"
    assert problems[1] == "`meta` and `config.meta` differ: keep one of them @ customers.meta.consent_retl"


def unique_test(of: str, kind: str) -> dict[str, Any]:
    return {
        "unique_id": f"test.shop.{kind}_{of}",
        "name": f"{kind}_{of}",
        "resource_type": "test",
        "test_metadata": {"name": kind, "namespace": None},
        "column_name": of,
        "depends_on": {"nodes": ["model.shop.customers"]},
    }


@pytest.mark.parametrize(
    ("keys", "tests"),
    [
        ({"constraints": [{"type": "primary_key", "columns": ["user_id"]}]}, ()),
        ({"columns": {"user_id": {"constraints": [{"type": "primary_key"}]}}}, ()),
        ({"columns": {"user_id": {"constraints": [{"type": "not_null"}]}}}, ("unique",)),
        ({}, ("unique", "not_null")),
    ],
)
def test_a_missing_primary_key_is_suggested_and_never_assumed(
    tmp_path: Path, keys: dict[str, Any], tests: tuple[str, ...]
) -> None:
    nodes = [unique_test("user_id", kind) for kind in tests]

    problems = refusal(tmp_path, declaring({"consent": {"C0004": "ads_ok"}}, **keys), *nodes)

    assert problems[1] == (
        "key `primary_key` is missing: by its constraints or tests it may be `user_id` @ "
        "customers.meta.consent_retl.primary_key"
    )


def test_a_column_that_an_enforced_contract_does_not_have_is_refused(tmp_path: Path) -> None:
    contract: dict[str, Any] = {"contract": {"enforced": True}, "columns": {"user_id": {}, "ads_ok": {}}}

    problems = refusal(tmp_path, declaring({**KEY, "consent": {"C0004": "ads_okay"}}, **contract))

    assert problems[1:] == [
        "the model's contract has no column `ads_okay`, did you mean `ads_ok`? @ customers.meta.consent_retl"
    ]


def test_a_similar_key_in_meta_is_suggested(tmp_path: Path) -> None:
    problems = refusal(tmp_path, model(meta={"consent-retl": KEY}))

    assert "but a similar one, did you mean `consent-retl`?" in problems[0]
