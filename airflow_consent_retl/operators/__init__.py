"""The operators of this package, for DAG authors. Importing them loads no engine and no client."""

from __future__ import annotations

from importlib import import_module

__all__ = [
    "ConsentFilterOperator",
    "DropStagingTablesOperator",
    "ExtractModelOperator",
    "LoadOperator",
    "LoadToFilesOperator",
    "LoadToGoogleCustomerMatchOperator",
    "LoadToSqlTableOperator",
    "LoadToWebhookOperator",
    "PropagateWithdrawalsOperator",
    "permitted_batches",
    "permitted_dataframes",
]

_MODULES = {
    "ConsentFilterOperator": "airflow_consent_retl.operators.consent",
    "DropStagingTablesOperator": "airflow_consent_retl.operators.staging",
    "ExtractModelOperator": "airflow_consent_retl.operators.extract",
    "LoadOperator": "airflow_consent_retl.operators.load",
    "LoadToFilesOperator": "airflow_consent_retl.destinations.files.destination",
    "LoadToGoogleCustomerMatchOperator": "airflow_consent_retl.destinations.google_customer_match.destination",
    "LoadToSqlTableOperator": "airflow_consent_retl.destinations.sql_table.destination",
    "LoadToWebhookOperator": "airflow_consent_retl.destinations.webhook.destination",
    "PropagateWithdrawalsOperator": "airflow_consent_retl.operators.withdraw",
    "permitted_batches": "airflow_consent_retl.operators.permitted_rows",
    "permitted_dataframes": "airflow_consent_retl.operators.permitted_rows",
}


def __getattr__(name: str) -> object:
    # Late, since a destination's file holds its operator, and that operator is built on one from here.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
