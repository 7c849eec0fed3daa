"""The form of connections of the type `consentwebhook`, an entry of the provider info. It imports nothing."""

from __future__ import annotations

WEBHOOK_FORM = {
    "connection-type": "consentwebhook",
    "hook-class-name": "airflow_consent_retl.destinations.webhook.webhook_hook.WebhookHook",
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
        "allow_private": {
            "label": "Allow private addresses",
            "description": "The host may be inside your own network, or on this machine.",
            "schema": {"type": ["boolean", "null"]},
        },
        "allow_plain_http": {
            "label": "Allow plain HTTP",
            "description": "Rows may cross the public internet without encryption.",
            "schema": {"type": ["boolean", "null"]},
        },
    },
}
