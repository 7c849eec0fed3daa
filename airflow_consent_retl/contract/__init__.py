"""The contract of destinations: the one import for people who write a destination.

    from airflow_consent_retl.contract import Batch, Destination, Limits, Load, Outcomes

It contains the interface and its limits, the outcome of each row, the parameters that a destination is built from, and
the errors that it raises. Importing it loads no engine. `airflow_consent_retl.testing` checks that a destination keeps
the contract; `airflow_consent_retl.destinations.http` is a kit for destinations over HTTP.
"""

from __future__ import annotations

from airflow_consent_retl.contract.account_rate import AccountRate
from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source
from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus, vendor_code
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.contract.withdrawal import wrong_withdrawal
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

__all__ = [
    "AccountRate",
    "Batch",
    "CatalogueEntry",
    "ConfigurationError",
    "DatasetName",
    "Destination",
    "DestinationError",
    "DestinationSpec",
    "DestinationUnavailableError",
    "Limits",
    "Load",
    "Outcome",
    "Outcomes",
    "RowStatus",
    "Source",
    "vendor_code",
    "wrong_withdrawal",
]
