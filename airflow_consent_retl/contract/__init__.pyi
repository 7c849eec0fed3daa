"""The names of this package, for type checkers: `__init__.py` finds them as they are asked for."""

from airflow_consent_retl.contract.account_rate import AccountRate as AccountRate
from airflow_consent_retl.contract.catalogue import CatalogueEntry as CatalogueEntry
from airflow_consent_retl.contract.catalogue import Source as Source
from airflow_consent_retl.contract.dataset_name import DatasetName as DatasetName
from airflow_consent_retl.contract.destination import Batch as Batch
from airflow_consent_retl.contract.destination import Destination as Destination
from airflow_consent_retl.contract.destination import Limits as Limits
from airflow_consent_retl.contract.destination import Load as Load
from airflow_consent_retl.contract.outcomes import Outcome as Outcome
from airflow_consent_retl.contract.outcomes import Outcomes as Outcomes
from airflow_consent_retl.contract.outcomes import RowStatus as RowStatus
from airflow_consent_retl.contract.outcomes import vendor_code as vendor_code
from airflow_consent_retl.contract.spec import DestinationSpec as DestinationSpec
from airflow_consent_retl.contract.withdrawal import wrong_withdrawal as wrong_withdrawal
from airflow_consent_retl.errors import ConfigurationError as ConfigurationError
from airflow_consent_retl.errors import DestinationError as DestinationError
from airflow_consent_retl.errors import DestinationUnavailableError as DestinationUnavailableError

MODULES: dict[str, str]
__all__: list[str]
