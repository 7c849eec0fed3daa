"""Codes of Salesforce that have a word of their own, and quote no value.

https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_concepts_core_data_objects.htm, read
2026-11-29: those that writes meet. Other codes are made of plain words, or are shown where several rows share them.
"""

from __future__ import annotations

STATUS_CODES = frozenset(
    {
        "ALREADY_IN_PROCESS", "APEX_ERROR", "CANNOT_EXECUTE_FLOW_TRIGGER", "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "CANNOT_UPDATE_CONVERTED_LEAD", "ClientInputError", "DELETE_FAILED", "DUPLICATES_DETECTED",
        "ENTITY_IS_DELETED", "ENTITY_IS_LOCKED", "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "FIELD_FILTER_VALIDATION_EXCEPTION", "FIELD_INTEGRITY_EXCEPTION", "FIELD_NOT_UPDATABLE",
        "INACTIVE_OWNER_OR_USER", "INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "INSUFFICIENT_ACCESS_OR_READONLY", "INVALID_CROSS_REFERENCE_KEY", "INVALID_CURRENCY_ISO",
        "INVALID_FIELD_FOR_INSERT_UPDATE", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "InvalidBatch",
        "NUMBER_OUTSIDE_VALID_RANGE", "PROCESSING_HALTED", "STRING_TOO_LONG", "TRANSFER_REQUIRES_READ",
        "UNABLE_TO_LOCK_ROW",
    }
)  # fmt: skip
