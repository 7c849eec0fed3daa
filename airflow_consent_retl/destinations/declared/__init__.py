"""Destinations over HTTP that are declared as data: the one import for people who declare one.

    from airflow_consent_retl.destinations.declared import DeclaredRequest, DestinationDeclaration, Errors, field

It has the records of a declaration, the placeholders of bodies, and the maps of answers. Importing it loads no engine.
"""

from __future__ import annotations

from airflow_consent_retl.late_names import late_names

_NAMES = {
    "declared.declaration": ("DeclaredRemoval", "DestinationDeclaration", "Rate"),
    "declared.declared_answers": (
        "Counts",
        "Errors",
        "RefusedLists",
        "RefusedValues",
        "Results",
        "StatedSuccess",
        "StatusOnly",
    ),
    "declared.declared_request": ("DeclaredRequest",),
    "declared.placeholders": ("each_row", "field", "other_fields", "parameter"),
    "declared.row_references": ("ById", "ByIndex", "ByPointer", "InOrder"),
    "http.vendor_auth": ("ApiKey", "BEARER", "LoginAndPassword", "OAuth2"),
}
MODULES = {name: f"airflow_consent_retl.destinations.{module}" for module, names in _NAMES.items() for name in names}

__all__ = sorted(MODULES)  # noqa: PLE0605 - computed from the one list
__getattr__, __dir__ = late_names(__name__, MODULES)
