"""The operators of this package, for DAG authors. Importing them loads no engine and no client."""

from __future__ import annotations

from airflow_consent_retl.destinations.files import LoadToFilesOperator
from airflow_consent_retl.destinations.sql_table import LoadToSqlTableOperator
from airflow_consent_retl.destinations.webhook import LoadToWebhookOperator
from airflow_consent_retl.operators.consent import ConsentFilterOperator
from airflow_consent_retl.operators.extract import ExtractModelOperator
from airflow_consent_retl.operators.load import LoadOperator
from airflow_consent_retl.operators.permitted import permitted_batches, permitted_dataframes

__all__ = [
    "ConsentFilterOperator",
    "ExtractModelOperator",
    "LoadOperator",
    "LoadToFilesOperator",
    "LoadToSqlTableOperator",
    "LoadToWebhookOperator",
    "permitted_batches",
    "permitted_dataframes",
]
