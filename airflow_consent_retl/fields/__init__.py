"""Values for the `fields` of a load that are no plain column: the one import for DAG authors.

    from airflow_consent_retl.fields import columns, consent, constant, expression

    fields={
        "id": "customer_id",
        "emails": columns("email", "billing_email"),
        "source": constant("warehouse"),
        "city": expression("upper(trim(city))"),
        "email_status": consent("C0004", granted="subscribed", otherwise="unsubscribed"),
    }

Each function returns text that a load takes in place of a column's name. So a value can contain templates, can be
mapped over, and is shown as it was written. The records, such as `TikTokConsent`, return such fields in the names and
values of one vendor. Importing it loads no engine.
"""

from __future__ import annotations

from airflow_consent_retl.late_names import late_names

_NAMES = {
    "field_values": ("columns", "consent", "constant", "expression"),
    "vendor_consent": (
        "AmazonAudienceConsent",
        "AmazonEventConsent",
        "MailchimpConsent",
        "MicrosoftConsent",
        "PinterestConsent",
        "TikTokConsent",
    ),
}
MODULES = {name: f"airflow_consent_retl.fields.{module}" for module, names in _NAMES.items() for name in names}

__all__ = sorted(MODULES)  # noqa: PLE0605 - computed from the one list
__getattr__, __dir__ = late_names(__name__, MODULES)
