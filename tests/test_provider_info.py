"""What Airflow reads of this package is what Airflow accepts."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger

import airflow_consent_retl
from airflow_consent_retl import __version__
from airflow_consent_retl.destinations.http.vendors import vendors
from airflow_consent_retl.get_provider_info import get_provider_info
from airflow_consent_retl.hooks.connection_forms import POLICY_FORM

BASES = {"airflow_consent_retl.destinations.http.vendor_hook"}
SCHEMAS = Path(airflow.__file__).parent


def schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / name).read_text())
    return document


def test_the_provider_info_follows_airflows_schema() -> None:
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_the_connection_form_follows_airflows_schema_of_forms() -> None:
    whole = schema("provider.yaml.schema.json")
    forms = {"definitions": whole.get("definitions", {}), **whole["properties"]["connection-types"]}

    jsonschema.validate(get_provider_info()["connection-types"], forms)


def test_the_schema_of_forms_refuses_a_form_that_is_wrong() -> None:
    whole = schema("provider.yaml.schema.json")
    forms = {"definitions": whole.get("definitions", {}), **whole["properties"]["connection-types"]}
    form = get_provider_info()["connection-types"][0]

    slips: list[dict[str, Any]] = [
        {"conn-fields": {"policy": {"schema": {}}}},
        {"ui-field-behaviour": {"hidden-fields": ["nonsense"]}},
    ]
    # Airflow 3.1 has no word on the fields of a form.
    known = forms["items"]["properties"]
    for broken in [slip for slip in slips if known.keys() >= slip.keys()]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate([{**form, **broken}], forms)


def test_no_connection_type_has_a_character_that_a_uri_or_airflow_changes() -> None:
    types = [form["connection-type"] for form in get_provider_info()["connection-types"]]

    assert [name for name in types if not name.isalpha()] == []


def test_the_form_of_the_policy_shows_its_field_unfolded() -> None:
    pages = "".join(page.read_text() for page in (SCHEMAS / "ui" / "dist" / "assets").glob("index-*.js"))
    section = POLICY_FORM["conn-fields"]["policy"]["schema"]["section"]

    # Airflow's form of a connection opens this section when it is shown, and no other one.
    assert f"defaultValue:[`{section}`]" in pages or f'defaultValue:["{section}"]' in pages


def test_the_entry_point_leads_to_the_provider_info() -> None:
    (entry,) = [point for point in entry_points(group="apache_airflow_provider") if "consent" in point.value]

    assert entry.load() is get_provider_info
    assert get_provider_info()["versions"] == [__version__]


def modules() -> list[str]:
    info = get_provider_info()
    return [
        name
        for section in ("operators", "hooks", "triggers")
        for entry in info[section]
        for name in entry["python-modules"]
    ]


@pytest.mark.parametrize("module", modules())
def test_every_module_that_is_named_exists(module: str) -> None:
    assert import_module(module).__doc__


def test_every_operator_for_dag_authors_is_in_a_module_that_is_named() -> None:
    operators = import_module("airflow_consent_retl.operators")

    offered = {getattr(operators, name).__module__ for name in operators.__all__ if name.endswith("Operator")}

    assert offered <= set(modules())


def test_every_module_with_a_hook_or_a_trigger_is_named() -> None:
    found = set()
    for module in pkgutil.walk_packages(airflow_consent_retl.__path__, "airflow_consent_retl."):
        if module.name.partition(".")[2].partition(".")[0] in {"hooks", "triggers", "destinations"}:
            kinds = inspect.getmembers(import_module(module.name), inspect.isclass)
            own = [kind for _, kind in kinds if kind.__module__ == module.name]
            found |= {module.name for kind in own if issubclass(kind, BaseHook | BaseTrigger)}

    assert found == {
        "airflow_consent_retl.destinations.data_manager.data_manager_hook",
        "airflow_consent_retl.destinations.http.webhook_hook",
        "airflow_consent_retl.hooks.policies",
        "airflow_consent_retl.triggers.pending_requests",
        "airflow_consent_retl.triggers.submitted_query",
        *BASES,
        *(vendor.hook.rpartition(".")[0] for vendor in vendors()),
    }
    assert found - BASES <= set(modules())
    # These hold no class, but functions around Airflow's own hooks.
    assert {"airflow_consent_retl.hooks.sql", "airflow_consent_retl.hooks.ledgers"} <= set(modules())


def test_each_vendor_has_a_hook_of_its_own_with_its_record() -> None:
    for vendor in vendors():
        module, _, name = vendor.hook.rpartition(".")
        hook = getattr(import_module(module), name)

        assert (hook.vendor, hook.conn_type, hook.hook_name) == (vendor, vendor.conn_type, vendor.name)
        assert vendor.conn_type.startswith("consent")


PROVIDERS = """
import json, warnings
warnings.simplefilter("ignore")
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
forms = {}
for form in HookMetaService.hook_meta_data():
    if form.connection_type.startswith("consent"):
        shown = form.standard_fields.model_dump()
        forms[form.connection_type] = {
            "hook": [form.hook_class_name, form.hook_name],
            "hidden": sorted(name for name, field in shown.items() if field and field["hidden"]),
            "placeholders": sorted(name for name, field in shown.items() if field and field["placeholder"]),
            "fields": {name: dict(field)["schema"]["title"] for name, field in form.extra_fields.items()},
            "described": all(dict(field)["description"] for field in form.extra_fields.values()),
        }
manager = ProvidersManager()
print(json.dumps({
    "version": manager.providers["airflow-consent-retl"].version,
    "forms": forms,
    "config": sorted(dict(manager.provider_configs)["airflow-consent-retl"]["consent_retl"]["options"]),
    "sensitive": ("consent_retl", "digest_key") in conf.sensitive_config_values,
}))
"""


def test_airflow_loads_the_provider_and_shows_its_connection_forms() -> None:
    ended = subprocess.run([sys.executable, "-c", PROVIDERS], check=True, capture_output=True, text=True)
    shown = json.loads(ended.stdout.splitlines()[-1])

    for vendor in vendors():
        form = shown["forms"].pop(vendor.conn_type)
        assert form["hook"] == [vendor.hook, vendor.name]
        assert {"url_schema", "port"} <= set(form["hidden"])
        assert {"allow_private", "allow_plain_http", *vendor.authentication.fields} == set(form["fields"])
        assert form["described"]
    assert shown == {
        "version": __version__,
        "forms": {
            "consentpolicy": {
                "hook": ["airflow_consent_retl.hooks.policies.ConsentPolicyHook", "Consent policy"],
                "hidden": ["host", "login", "password", "port", "url_schema"],
                "placeholders": [],
                "fields": {"policy": "Policy document"},
                "described": True,
            },
            "consentwebhook": {
                "hook": ["airflow_consent_retl.destinations.http.webhook_hook.WebhookHook", "Consent webhook"],
                "hidden": ["url_schema"],
                "placeholders": ["host", "login", "password", "port"],
                "fields": {
                    "token": "Token",
                    "headers": "Headers",
                    "allow_private": "Allow private addresses",
                    "allow_plain_http": "Allow plain HTTP",
                },
                "described": True,
            },
        },
        "config": [
            "allow_dag_policies",
            "approval_required",
            "digest_key",
            "digest_key_previous",
            "evidence_days",
            "ledger_conn_id",
            "page_workspaces",
            "policy",
            "snapshot_days",
            "snapshot_number",
            "unserved_days",
            "workspace",
        ],
        "sensitive": True,
    }
