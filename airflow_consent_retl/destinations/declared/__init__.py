"""Destinations over HTTP that are declared as data: the one import for people who declare one.

    from airflow_consent_retl.destinations.declared import DeclaredRequest, DestinationDeclaration, Errors, field

It has the records of a declaration, the placeholders of bodies, and the maps of answers. Importing it loads no engine.
"""

from __future__ import annotations

from airflow_consent_retl.destinations.declared.declaration import DeclaredRemoval, DestinationDeclaration, Rate
from airflow_consent_retl.destinations.declared.declared_answers import (
    Counts,
    Errors,
    RefusedLists,
    RefusedValues,
    Results,
    StatedSuccess,
    StatusOnly,
)
from airflow_consent_retl.destinations.declared.declared_request import DeclaredRequest
from airflow_consent_retl.destinations.declared.placeholders import each_row, field, other_fields, parameter
from airflow_consent_retl.destinations.declared.row_references import ById, ByIndex, ByPointer, InOrder
from airflow_consent_retl.destinations.http.vendor_auth import BEARER, ApiKey, LoginAndPassword, OAuth2

__all__ = [
    "BEARER",
    "ApiKey",
    "ById",
    "ByIndex",
    "ByPointer",
    "Counts",
    "DeclaredRemoval",
    "DeclaredRequest",
    "DestinationDeclaration",
    "Errors",
    "InOrder",
    "LoginAndPassword",
    "OAuth2",
    "Rate",
    "RefusedLists",
    "RefusedValues",
    "Results",
    "StatedSuccess",
    "StatusOnly",
    "each_row",
    "field",
    "other_fields",
    "parameter",
]
