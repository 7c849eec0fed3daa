"""The contract of destinations: the one import for people who write a destination.

    from airflow_consent_retl.contract import Batch, Destination, Limits, Load, Outcomes

It contains the interface and its limits, the outcome of each row, the parameters that a destination is built from, and
the errors that it raises. Importing it loads no engine. `airflow_consent_retl.testing` checks that a destination keeps
the contract; `airflow_consent_retl.destinations.http` is a kit for destinations over HTTP.
"""

from __future__ import annotations

from airflow_consent_retl.late_names import late_names

_NAMES = {
    "contract.account_rate": ("AccountRate",),
    "contract.catalogue": ("CatalogueEntry", "Source"),
    "contract.dataset_name": ("DatasetName",),
    "contract.destination": ("Batch", "Destination", "Limits", "Load"),
    "contract.outcomes": ("Outcome", "Outcomes", "RowStatus", "vendor_code"),
    "contract.spec": ("DestinationSpec",),
    "contract.withdrawal": ("wrong_withdrawal",),
    "errors": ("ConfigurationError", "DestinationError", "DestinationUnavailableError"),
}
MODULES = {name: f"airflow_consent_retl.{module}" for module, names in _NAMES.items() for name in names}

__all__ = sorted(MODULES)  # noqa: PLE0605 - computed from the one list
__getattr__, __dir__ = late_names(__name__, MODULES)
