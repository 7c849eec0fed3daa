"""The parameters of a Customer Match destination, which build it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.data_manager.options import DataManagerSpec
from airflow_consent_retl.destinations.google_customer_match.audience import (
    CustomerMatchOptions,
    customer_match_audience,
)
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.google_customer_match.destination import GoogleCustomerMatchDestination

_TERMS = "https://support.google.com/adspolicy/answer/6299717"


@parameter_class
class CustomerMatchSpec(CustomerMatchOptions, DataManagerSpec):
    """The options, the audience and the connection: all parameters of `LoadToGoogleCustomerMatchOperator`."""

    templated: ClassVar[tuple[str, ...]] = ("gcp_conn_id", "audience_id", *DataManagerSpec.templated)

    audience_id: str
    consent_signals: Mapping[str, str]
    terms_of_service_accepted: bool = False

    def build(self, *, consent_granted: bool = False) -> GoogleCustomerMatchDestination:
        """Return the destination, not yet opened; contacts nothing. All destinations of one spec share its pace.

        Args:
            consent_granted: whether the permitted set was checked for Google's signals. If not, the destination
                removes people and sends no one.

        Raises:
            ConfigurationError: the terms are not accepted, or the audience is malformed.
        """
        from airflow_consent_retl.destinations.data_manager.data_manager_hook import GoogleDataManagerHook
        from airflow_consent_retl.destinations.google_customer_match.destination import GoogleCustomerMatchDestination
        from airflow_consent_retl.hooks.cloud_project import cloud_project

        if not self.terms_of_service_accepted:
            raise ConfigurationError(
                f"terms_of_service_accepted has to be True: Google accepts no members before its terms, {_TERMS}, are "
                "accepted in the operating account"
            )
        audience = customer_match_audience(
            audience_id=self.audience_id,
            operating_account=self.operating_account,
            login_account=self.login_account,
            linked_account=self.linked_account,
        )
        hook = GoogleDataManagerHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        return GoogleCustomerMatchDestination(
            hook.get_conn,
            audience,
            self,
            consent_granted=consent_granted,
            pace=self.pace,
            quota=partial(cloud_project, self.gcp_conn_id, self.impersonation_chain),
            endpoint=hook.endpoint,
        )
