"""The parameters of a Customer Match destination, which build it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.data_manager.options import DataManagerSpec
from airflow_consent_retl.destinations.google_customer_match.audience import CustomerMatchOptions
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.contract.checked_options import OptionCheck
    from airflow_consent_retl.destinations.google_customer_match.destination import GoogleCustomerMatchDestination

_TERMS = "https://support.google.com/adspolicy/answer/6299717"


def _terms(options: CustomerMatchSpec) -> Iterator[Problem]:
    if not options.terms_of_service_accepted:
        yield Problem(
            "terms_of_service_accepted",
            f"terms_of_service_accepted has to be True: Google accepts no members before its terms, {_TERMS}, are "
            "accepted in the operating account",
        )


@parameter_class
class CustomerMatchSpec(CustomerMatchOptions, DataManagerSpec):
    """The options, the audience and the connection: all parameters of `LoadToGoogleCustomerMatchOperator`."""

    templated: ClassVar[tuple[str, ...]] = ("gcp_conn_id", "audience_id", *DataManagerSpec.templated)
    account_types: ClassVar[tuple[str, ...]] = (
        "GOOGLE_ADS",
        "DISPLAY_VIDEO_ADVERTISER",
        "DISPLAY_VIDEO_PARTNER",
        "DATA_PARTNER",
    )
    patterns: ClassVar[Mapping[str, tuple[str, str]]] = {"audience_id": (r"[0-9]+", "the audience's number")}
    checks: ClassVar[tuple[OptionCheck, ...]] = (_terms,)

    audience_id: str
    consent_signals: Mapping[str, str]
    terms_of_service_accepted: bool = False

    def build(self, *, consent_granted: bool = False) -> GoogleCustomerMatchDestination:
        """Return the destination, not yet opened; contacts nothing. All destinations of one spec share its pace.

        Args:
            consent_granted: whether the permitted set was checked for Google's signals. If not, the destination
                removes people and sends no one.
        """
        from airflow_consent_retl.destinations.google_customer_match.destination import GoogleCustomerMatchDestination

        return self.built(GoogleCustomerMatchDestination, "audience", self.audience_id, consent_granted=consent_granted)
