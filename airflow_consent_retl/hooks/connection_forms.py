"""The forms of this package's connection types, as the versions of Airflow want them.

A form is an entry of the provider info. Airflow 3.1 does not read it there: it asks the hook's class for the same, in
terms of Flask, which the functions here make from the entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Form = Mapping[str, Any]

POLICY_FORM: Form = {
    # Airflow warns of types with an underscore, and takes a hyphen in a URI for one.
    "connection-type": "consentpolicy",
    "hook-class-name": "airflow_consent_retl.hooks.policies.ConsentPolicyHook",
    "hook-name": "Consent policy",
    "ui-field-behaviour": {
        "hidden-fields": ["host", "schema", "login", "password", "port", "extra"],
    },
    "conn-fields": {
        "policy": {
            "label": "Policy document",
            "description": (
                'One JSON document, such as {"categories": [{"id": "C0004", "name": "Advertising", "destinations": '
                '["webhook"]}]}. The page docs/policy.md explains every part. The test of the connection names every '
                "problem."
            ),
            # The section of Airflow's form that is open from the start. A section of any other name is folded.
            "schema": {"type": "string", "format": "multiline", "section": "standardFields"},
        }
    },
}


def field_behaviour(form: Form) -> dict[str, Any]:
    """Return what a form does with the fields that every connection has, as a hook's class returns it."""
    behaviour = form["ui-field-behaviour"]
    return {
        "hidden_fields": list(behaviour["hidden-fields"]),
        "relabeling": dict(behaviour.get("relabeling", {})),
        "placeholders": dict(behaviour.get("placeholders", {})),
    }


def flask_fields(form: Form) -> dict[str, Any]:
    """Return the further fields of a form, as a hook's class returns them."""
    return {name: _flask_field(field) for name, field in form["conn-fields"].items()}


def _flask_field(field: Mapping[str, Any]) -> Any:
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextAreaFieldWidget, BS3TextFieldWidget
    from flask_babel import lazy_gettext

    # Airflow drops the connection type if a field's class is not one of the four that it knows.
    from wtforms import BooleanField, PasswordField, StringField

    words = {"label": lazy_gettext(field["label"]), "description": field["description"]}
    schema = field["schema"]
    if "boolean" in schema["type"]:
        return BooleanField(**words)
    if schema.get("format") == "password":
        return PasswordField(**words, widget=BS3PasswordFieldWidget())
    is_long = schema.get("format") == "multiline" or "object" in schema["type"]
    return StringField(**words, widget=BS3TextAreaFieldWidget() if is_long else BS3TextFieldWidget())
