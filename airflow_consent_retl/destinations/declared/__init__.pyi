"""The names of this package, for type checkers: `__init__.py` finds them as they are asked for."""

from airflow_consent_retl.destinations.declared.declaration import DeclaredRemoval as DeclaredRemoval
from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration as DestinationDeclaration
from airflow_consent_retl.destinations.declared.declaration import Rate as Rate
from airflow_consent_retl.destinations.declared.declared_answers import Counts as Counts
from airflow_consent_retl.destinations.declared.declared_answers import Errors as Errors
from airflow_consent_retl.destinations.declared.declared_answers import RefusedLists as RefusedLists
from airflow_consent_retl.destinations.declared.declared_answers import RefusedValues as RefusedValues
from airflow_consent_retl.destinations.declared.declared_answers import Results as Results
from airflow_consent_retl.destinations.declared.declared_answers import StatedSuccess as StatedSuccess
from airflow_consent_retl.destinations.declared.declared_answers import StatusOnly as StatusOnly
from airflow_consent_retl.destinations.declared.declared_request import DeclaredRequest as DeclaredRequest
from airflow_consent_retl.destinations.declared.placeholders import each_row as each_row
from airflow_consent_retl.destinations.declared.placeholders import field as field
from airflow_consent_retl.destinations.declared.placeholders import other_fields as other_fields
from airflow_consent_retl.destinations.declared.placeholders import parameter as parameter
from airflow_consent_retl.destinations.declared.row_references import ById as ById
from airflow_consent_retl.destinations.declared.row_references import ByIndex as ByIndex
from airflow_consent_retl.destinations.declared.row_references import ByPointer as ByPointer
from airflow_consent_retl.destinations.declared.row_references import InOrder as InOrder
from airflow_consent_retl.destinations.http.vendor_auth import BEARER as BEARER
from airflow_consent_retl.destinations.http.vendor_auth import ApiKey as ApiKey
from airflow_consent_retl.destinations.http.vendor_auth import LoginAndPassword as LoginAndPassword
from airflow_consent_retl.destinations.http.vendor_auth import OAuth2 as OAuth2

MODULES: dict[str, str]
__all__: list[str]
