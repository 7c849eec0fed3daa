"""The form of connections of the type `consentwebhook`: to any host that speaks HTTP, a webhook or a declared API.

It is an entry of the provider info. Importing it is cheap.
"""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor import NETWORK_FLAGS

WEBHOOK_FORM = {
    "connection-type": "consentwebhook",
    "hook-class-name": "airflow_consent_retl.destinations.http.webhook_hook.WebhookHook",
    "hook-name": "Consent webhook",
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "extra"],
        "relabeling": {
            "host": "Base URL",
            "login": "Login (basic authentication)",
            "password": "Password (basic authentication)",
        },
        "placeholders": {
            "host": "https://crm.example.com",
            "port": "443",
            "login": "leave it empty if you use a token or a header",
            "password": "leave it empty if you use a token or a header",
        },
    },
    "conn-fields": {
        "token": {
            "label": "Token",
            "description": "Sent as a bearer token in the header Authorization.",
            "schema": {"type": ["string", "null"], "format": "password"},
        },
        "headers": {
            "label": "Headers",
            "description": 'A JSON object of further headers, such as {"X-Api-Key": "…"}.',
            "schema": {"type": ["object", "null"]},
        },
        **NETWORK_FLAGS,
    },
}
