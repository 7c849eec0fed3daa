"""The Customer.io destination, which is declared as data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.customerio.customerio_requests import customerio
from airflow_consent_retl.destinations.declared.destination import DeclaredHttpDestination

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration


class CustomerioDestination(DeclaredHttpDestination):
    """People of a Customer.io workspace, or those of one of its manual segments.

    `/api/v2/batch` stores people and takes them back; a row is rejected if an error has its index, and accepted
    otherwise. `add_customers` and `remove_customers` change who is in a segment: Customer.io ignores people whom the
    workspace does not have, and does not say so. A NULL is left out: Customer.io keeps what it has. The fields
    `unsubscribed` and `cio_subscription_preferences` are refused, so a load never subscribes a person again.
    """

    @staticmethod
    def declared() -> DestinationDeclaration:
        """Return the declaration for people without a segment."""
        return customerio("id", in_segment=False)
