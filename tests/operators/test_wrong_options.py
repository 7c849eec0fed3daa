"""Wrong options of loads: each is found when the DAG file is parsed, or by `consent-retl check`, before a first run.

The cases are made of the annotations of every load that is offered: an option that no rule covers fails here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from airflow.sdk import DAG
from support.crm_sync import POLICY

from airflow_consent_retl import operators
from airflow_consent_retl.checking.dag_check import check_dag
from airflow_consent_retl.checking.policies_read import PoliciesRead
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.data_manager.accounts import Account
from airflow_consent_retl.destinations.declared import (
    DeclaredRequest,
    DestinationDeclaration,
    StatusOnly,
    each_row,
    field,
)
from airflow_consent_retl.destinations.salesforce.consent_objects import ConsentObject
from airflow_consent_retl.errors import ConfigurationError, OptionsError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    ForgetOperator,
    LoadToFilesOperator,
    PropagateWithdrawalsOperator,
    RetireSyncOperator,
)
from airflow_consent_retl.operators.face import MODULES
from airflow_consent_retl.operators.operator_settings import (
    SETTINGS,
    ExtractSettings,
    FilterSettings,
    ForgetSettings,
    LoadSettings,
    OperatorSettings,
    RetireSettings,
    WithdrawalSettings,
)
from airflow_consent_retl.operators.spec_load import SpecLoadOperator, parameters_of
from airflow_consent_retl.storage.sync_mode import SyncMode

ACME = DestinationDeclaration(
    name="Acme",
    send=DeclaredRequest(path="/people", body=each_row({"id": field("id")}), answer=StatusOnly()),
    on_withdrawal={},
)
GOOGLE = {"operating_account": "123", "consent_signals": {"ad_user_data": "C4", "ad_personalization": "C4"}}
# What each load needs, and nothing that it does not.
SOUND: dict[str, dict[str, Any]] = {
    "LoadToBrazeOperator": {"workspace_name": "w", "on_withdrawal": "delete"},
    "LoadToCustomerioOperator": {"workspace_id": 1, "on_withdrawal": "delete"},
    "LoadToDeclaredHttpOperator": {"declaration": ACME, "conn_id": "acme", "on_withdrawal": None},
    "LoadToFilesOperator": {"path": "file:///exports/lake"},
    "LoadToGoogleCustomerMatchOperator": {**GOOGLE, "audience_id": "1", "terms_of_service_accepted": True},
    "LoadToGoogleEventsOperator": {**GOOGLE, "product_destination_id": "1"},
    "LoadToHubSpotOperator": {"hub_id": "1", "on_withdrawal": "archive"},
    "LoadToIterableOperator": {"project_id": 1, "on_withdrawal": "delete"},
    "LoadToKlaviyoOperator": {"account_id": "a", "on_withdrawal": "suppress"},
    "LoadToMetaAudienceOperator": {"audience_id": "1", "on_withdrawal": "leave_audience"},
    "LoadToMetaConversionsOperator": {"dataset_id": "1"},
    "LoadToSalesforceOperator": {"sobject": "Contact", "external_id": "Key__c", "on_withdrawal": "delete"},
    "LoadToSqlTableOperator": {"conn_id": "crm", "table": "people"},
    "LoadToWebhookOperator": {"conn_id": "hook", "endpoint": "/x"},
}
# Where the key has another name.
FIELDS = {"LoadToIterableOperator": {"email": "id"}}
LOADS = [name for name, module in MODULES.items() if ".destinations." in module]
# Texts with a form, and values that exclude each other: which option the error names.
BY_HAND: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (
        "LoadToBrazeOperator",
        {"identifier": "emial", "on_withdrawal": "unsubscribe", "batch_rows": 76},
        {"identifier": "did you mean `email`", "unsubscribes": "needs it", "batch_rows": "at most 75"},
    ),
    ("LoadToBrazeOperator", {"identifier": "user_alias"}, {"alias_label": "needs it"}),
    ("LoadToBrazeOperator", {"withdrawn_attributes": {"a": None}}, {"withdrawn_attributes": "clear_attribute"}),
    ("LoadToBrazeOperator", {"on_withdrawal": "deelte"}, {"on_withdrawal": "did you mean `delete`"}),
    ("LoadToCustomerioOperator", {"on_withdrawal": "deelte"}, {"on_withdrawal": "did you mean `delete`"}),
    ("LoadToCustomerioOperator", {"on_withdrawal": "leave_audience"}, {"segment_id": "segment"}),
    ("LoadToDeclaredHttpOperator", {"on_withdrawal": "delete"}, {"on_withdrawal": "cannot remove people"}),
    ("LoadToDeclaredHttpOperator", {"parameters": {"list": 1}}, {"list": "has no parameter `list`"}),
    (
        "LoadToFilesOperator",
        {"path": "exports/lake", "null_text": "=1", "format": "parket"},
        {"path": "not absolute", "null_text": "formula", "format": "did you mean `parquet`"},
    ),
    ("LoadToFilesOperator", {"path": "s3://bucket/"}, {"path": "root"}),
    ("LoadToFilesOperator", {"path": Path("/exports")}, {"path": "must be text"}),
    (
        "LoadToGoogleCustomerMatchOperator",
        {
            "audience_id": "x1",
            "login_account": "a",
            "terms_of_service_accepted": False,
            "consent_signals": {"ad_user": "C4"},
        },
        {
            "audience_id": "number",
            "login_account": "digits",
            "terms_of_service_accepted": "6299717",
            "consent_signals": "names no category for `ad_user_data`",
        },
    ),
    ("LoadToGoogleCustomerMatchOperator", {"operating_account": None}, {"operating_account": "needed"}),
    ("LoadToGoogleEventsOperator", {"product_destination_id": "a b"}, {"product_destination_id": "data stream"}),
    (
        "LoadToGoogleEventsOperator",
        {"operating_account": {"account_id": "1", "account_type": "X"}, "batch_rows": 2001},
        {"operating_account": "account_type", "batch_rows": "at most 2,000"},
    ),
    ("LoadToHubSpotOperator", {"id_property": ""}, {"id_property": "must not be empty"}),
    (
        "LoadToHubSpotOperator",
        {"on_withdrawal": "unsubscribe"},
        {"on_withdrawal": "legal_basis", "unsubscribes": "needs it"},
    ),
    ("LoadToKlaviyoOperator", {"list_id": "a list"}, {"list_id": "Y6nRLr"}),
    ("LoadToKlaviyoOperator", {"on_withdrawal": "leave_list"}, {"list_id": "needs a list_id"}),
    ("LoadToMetaAudienceOperator", {"audience_id": "x"}, {"audience_id": "number"}),
    ("LoadToMetaAudienceOperator", {"audience_id": 7}, {"audience_id": "as text"}),
    ("LoadToMetaConversionsOperator", {"dataset_id": "x"}, {"dataset_id": "pixel"}),
    ("LoadToMetaConversionsOperator", {"phone_region": "Germany"}, {"phone_region": "ISO 3166-1"}),
    ("LoadToMetaAudienceOperator", {"phone_region": "de"}, {"phone_region": "ISO 3166-1"}),
    (
        "LoadToSalesforceOperator",
        {"sobject": "no name", "hard_delete": True, "on_withdrawal": "clear_fields"},
        {"sobject": "API name", "hard_delete": 'on_withdrawal="delete"', "clear_fields": "needs it"},
    ),
    ("LoadToSalesforceOperator", {"consent_objects": ["x"]}, {"consent_objects": ""}),
    ("LoadToSqlTableOperator", {"table": "a.b.c"}, {"table": "names no table"}),
    ("LoadToSqlTableOperator", {"on_remove": "mark"}, {"mark_column": "needs it"}),
    ("LoadToSqlTableOperator", {"mark_nulls": True}, {"mark_nulls": 'on_remove="mark"'}),
    ("LoadToWebhookOperator", {"removal_method": "POST"}, {"removal_method": "removal_event"}),
    ("LoadToWebhookOperator", {"envelope": None, "removal_event": {"a": "b"}}, {"removal_event": "envelope"}),
    ("LoadToWebhookOperator", {"own_codes": "E1"}, {"own_codes": "a list"}),
    ("LoadToWebhookOperator", {"mode": "miror", "nulls": "nul"}, {"mode": "`mirror`", "nulls": "`null`"}),
    ("LoadToWebhookOperator", {"field_nulls": {"idd": "omitt"}}, {"field_nulls": "did you mean `omit`"}),
    ("LoadToWebhookOperator", {"dry_run": "yes"}, {"dry_run": "True or False"}),
    ("LoadToWebhookOperator", {"shares_target_with": "leads/webhook"}, {"shares_target_with": "a list"}),
]


def kind_named(name: str) -> type[SpecLoadOperator]:
    kind: type[SpecLoadOperator] = getattr(operators, name)
    return kind


def load_of(name: str, **options: Any) -> SpecLoadOperator:
    given = {"destination": "crm", "permitted": {}, "fields": FIELDS.get(name, {"id": "id"}), **SOUND[name], **options}
    return kind_named(name)(task_id="load", **given)


def hints_of(kind: type) -> dict[str, Any]:
    """Return the types of options; some of the names are those that only type checkers import."""
    known = {"Account": Account, "ConsentObject": ConsentObject, "DestinationDeclaration": DestinationDeclaration}
    return get_type_hints(kind, localns={**known, "Pace": object, "OptionCheck": object})


def wrong_values(hint: Any) -> list[Any]:
    """Return values that an option of this type never has."""
    members = get_args(hint) if get_origin(hint) is not Literal and type(None) in get_args(hint) else (hint,)
    [*others] = [member for member in members if member is not type(None)]
    if len(others) > 1:
        return []
    kind = get_origin(others[0]) or others[0]
    if kind is Literal:
        return [f"{get_args(others[0])[0]}x", 7]
    return {bool: ["false", 1], int: [0, -1, 2.5, "3", True], float: [-1, "3", float("nan")]}.get(kind, [])


def of_the_spec(name: str) -> Iterator[tuple[str, Any]]:
    spec_class: type[DestinationSpec] = kind_named(name).spec_class
    hints = hints_of(spec_class)
    for option in parameters_of(spec_class):
        if option not in spec_class.templated:
            yield from ((option, value) for value in wrong_values(hints[option]))


TYPED = [(name, option, value) for name in LOADS for option, value in of_the_spec(name)]


def test_each_load_has_options_that_are_sound() -> None:
    assert SOUND.keys() == set(LOADS)
    assert [name for name in LOADS if load_of(name).wrong_options()] == []
    # Both lists are made of annotations.
    assert len(TYPED) > 200


@pytest.mark.parametrize(("name", "option", "value"), TYPED)
def test_a_value_of_another_type_or_range_is_refused_when_the_dag_is_parsed(name: str, option: str, value: Any) -> None:
    with pytest.raises(OptionsError) as raised:
        load_of(name, **{option: value})

    assert option in {one.path for one in raised.value.problems}
    assert option in str(raised.value)


MODEL: dict[str, Any] = {"model": "people", "conn_id": "source", "sql": "SELECT 1 AS id", "primary_key": "id"}
# An operator of each kind, with what it needs.
TASKS: dict[type[OperatorSettings], Callable[..., Any]] = {
    LoadSettings: partial(load_of, "LoadToFilesOperator"),
    FilterSettings: partial(ConsentFilterOperator, task_id="t", snapshot={}, consent={}, destinations=["crm", "lake"]),
    ExtractSettings: partial(ExtractModelOperator, task_id="t", **MODEL),
    WithdrawalSettings: partial(PropagateWithdrawalsOperator, task_id="t", **MODEL, loads={}),
    RetireSettings: partial(
        RetireSyncOperator,
        task_id="t",
        model="people",
        destination="crm",
        load=partial(LoadToFilesOperator, path="file:///exports/lake"),
    ),
    ForgetSettings: partial(ForgetOperator, task_id="t"),
}


def of_the_settings(settings: type[OperatorSettings]) -> Iterator[tuple[str, Any]]:
    """Return each parameter with values that it never has, by its annotation and its range."""
    module, _, name = settings.operator.partition(":")
    kind = getattr(import_module(f"airflow_consent_retl.operators.{module}"), name)
    for option, annotation in settings.annotations().items():
        if annotation in {"bool", "int", "int | None", "float", "float | None"}:
            yield from ((option, value) for value in wrong_values(eval(str(annotation))))  # noqa: S307 - these five
        elif str(annotation).startswith("Literal["):
            yield from ((option, value) for value in ("nope", 7))
        elif str(annotation).startswith("Sequence[") and option not in kind.template_fields:
            yield option, "text"


NOT_DECIDED = "which is no destination of the filter"
SETTING_CASES = [(settings, option, value) for settings in SETTINGS for option, value in of_the_settings(settings)]


def test_the_operators_with_rules_are_sound_as_they_are() -> None:
    assert set(TASKS) == set(SETTINGS)
    assert [task for make in TASKS.values() if (task := make()).task_id not in {"t", "load"}] == []
    assert set(LoadSettings.choices["mode"]) == set(SyncMode)


@pytest.mark.parametrize(("settings", "option", "value"), SETTING_CASES)
def test_a_wrong_parameter_of_an_operator_is_refused_when_the_dag_is_parsed(
    settings: type[OperatorSettings], option: str, value: Any
) -> None:
    with pytest.raises(OptionsError, match=option):
        TASKS[settings](**{option: value})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "max_denied_ratio must be a number from 0 to 1"),
        (float("nan"), "max_denied_ratio must be a number from 0 to 1"),
        ({"crm": -1}, "max_denied_ratio['crm'] must be a number from 0 to 1"),
        (
            {"crm": 0.5, "cmr": 0.5},
            "max_denied_ratio names `cmr`, which is no destination of the filter, did you mean `crm`?",
        ),
    ],
)
def test_a_limit_that_would_never_stop_a_filter_is_refused(value: Any, words: str) -> None:
    with pytest.raises(OptionsError) as raised:
        TASKS[FilterSettings](max_denied_ratio=value)

    assert str(raised.value) == words


@pytest.mark.parametrize("value", [2, -1, "all", True])
def test_a_limit_of_released_rows_is_a_share_or_a_word(value: Any) -> None:
    with pytest.raises(OptionsError, match=r"^max_released_ratio must be a number from 0 to 1, \"default\" or None$"):
        TASKS[FilterSettings](max_released_ratio=value)


@pytest.fixture
def policy_of_the_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", f"file:{tmp_path}/policy.json")


@pytest.mark.usefixtures("policy_of_the_deployment")
def test_a_mapped_filter_is_checked_by_the_command() -> None:
    with DAG("people", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        ConsentFilterOperator.partial(task_id="t", consent={}, destinations=["crm"], max_invalid_ratio=7).expand(
            snapshot=[{}]
        )

    assert problems_of(dag) == {"max_invalid_ratio": "max_invalid_ratio must be at most 1"}


@pytest.mark.parametrize(("name", "options", "errors"), BY_HAND)
def test_every_error_of_a_destination_is_found_at_once(
    name: str, options: dict[str, Any], errors: dict[str, str]
) -> None:
    with pytest.raises(OptionsError) as raised:
        load_of(name, **options)

    found = {one.path: one.message for one in reversed(raised.value.problems)}
    assert found.keys() == errors.keys()
    assert [path for path, words in errors.items() if words not in found[path]] == []


def test_fields_are_checked_together_with_options() -> None:
    with pytest.raises(OptionsError) as raised:
        load_of("LoadToGoogleEventsOperator", batch_rows=0, fields={"ad_user_data": "a_column"})

    assert {one.path for one in raised.value.problems} == {"batch_rows", "fields"}


# With a template, and what it becomes: the option and the words of the error.
RENDERED = [
    ("LoadToFilesOperator", {"path": "{{ 'lake' }}"}, {"path": "not absolute"}),
    ("LoadToGoogleCustomerMatchOperator", {"audience_id": "{{ 'x' }}"}, {"audience_id": "number"}),
    ("LoadToGoogleEventsOperator", {"login_account": "{{ 'x' }}"}, {"login_account": "digits"}),
    ("LoadToKlaviyoOperator", {"list_id": "{{ 'a list' }}"}, {"list_id": "Y6nRLr"}),
    ("LoadToMetaAudienceOperator", {"audience_id": "{{ 'x' }}"}, {"audience_id": "number"}),
    ("LoadToMetaConversionsOperator", {"dataset_id": "{{ 'x' }}"}, {"dataset_id": "pixel"}),
    ("LoadToSalesforceOperator", {"sobject": "{{ 'a b' }}"}, {"sobject": "API name"}),
    ("LoadToSqlTableOperator", {"table": "{{ 'a.b.c' }}"}, {"table": "names no table"}),
    ("LoadToWebhookOperator", {"dry_run": "{{ 'maybe' }}"}, {"dry_run": "True or False"}),
]


@pytest.mark.parametrize(("name", "options", "errors"), RENDERED)
def test_a_template_is_checked_as_soon_as_it_is_rendered(
    name: str, options: dict[str, Any], errors: dict[str, str]
) -> None:
    with DAG("people", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        load = load_of(name, **options)

    found = problems_of(dag)
    assert found.keys() == errors.keys()
    assert [path for path, words in errors.items() if words not in found[path]] == []
    load.render_template_fields({})
    if "dry_run" not in options:
        with pytest.raises(ConfigurationError, match=next(iter(errors.values()))):
            load.build_destination()


@pytest.mark.usefixtures("policy_of_the_deployment")
@pytest.mark.parametrize("name", LOADS)
def test_a_mapped_load_is_checked_without_what_only_a_run_has(name: str) -> None:
    given = {"permitted": {}, "fields": FIELDS.get(name, {"id": "id"}), **SOUND[name]}
    [option, value] = next(of_the_spec(name))
    with DAG("people", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        kind_named(name).partial(task_id="load", **{**given, option: value}).expand(destination=["crm:a", "crm:b"])

    assert problems_of(dag).keys() == {option}


@pytest.mark.usefixtures("policy_of_the_deployment")
@pytest.mark.parametrize("name", LOADS)
def test_what_a_mapped_load_is_expanded_over_is_checked_where_the_dag_has_it(name: str) -> None:
    given = {"permitted": {}, "fields": FIELDS.get(name, {"id": "id"}), **SOUND[name]}
    [option, value] = next(of_the_spec(name))
    given.pop(option, None)
    with DAG("people", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        mapped = kind_named(name).partial(task_id="load", **given)
        mapped.expand_kwargs([{"destination": "crm:a", option: value}])

    assert problems_of(dag).keys() == {f"expand.{option}"}


@pytest.mark.parametrize("name", LOADS)
def test_the_loads_of_a_fast_lane_are_checked_when_the_dag_is_parsed(name: str) -> None:
    [option, value] = next(of_the_spec(name))
    load = partial(kind_named(name), **{**SOUND[name], option: value}, fields={"id": "id"})
    with pytest.raises(OptionsError, match=rf"loads\['crm'\]: .*{option}") as raised:
        PropagateWithdrawalsOperator(task_id="withdraw", **MODEL, loads={"crm": load})
    with pytest.raises(OptionsError, match=rf"load: .*{option}"):
        RetireSyncOperator(task_id="retire", model="people", destination="crm", load=load)

    assert raised.value.problems[0].path.startswith("loads['crm'].")


def problems_of(dag: Any) -> dict[str, str]:
    """Return the problems that `consent-retl check` finds without a connection, by place."""
    checked = check_dag(dag, PoliciesRead(None), None)
    return {one.path: one.message for task in checked for one in task.found if one.kind == "problem"}
