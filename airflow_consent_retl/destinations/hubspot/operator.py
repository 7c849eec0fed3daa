"""The operator that keeps HubSpot's contacts at the permitted rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_consent_retl.destinations.hubspot.options import HubSpotSpec
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


class LoadToHubSpotOperator(SpecLoadOperator):
    """Keep the contacts of a HubSpot account at the permitted rows of one destination.

    Reads the permitted set's files and an Airflow connection; contacts only the API of HubSpot. Its API takes 100
    contacts in a request, and 100 requests in 10 seconds (190 from the tier Professional on), which all apps of the
    account share: the specification and the pages are cited at `HubSpotDestination`.

    Fields are HubSpot's internal names of properties. A field `subscriptions.12345` is the state of that subscription,
    for `consent(…)`. The private app needs the scopes `crm.objects.contacts.read` and `.write`; for subscriptions also
    `communication_preferences.statuses.batch.read` and `.write`. So does an app with OAuth.

    Args:
        hub_id: the number of the HubSpot account (templated). The ledger keeps it as the place of the contacts.
        on_withdrawal: what happens to a person who is removed; no default. `archive`, `privacy_delete`, `unsubscribe`,
            `unsubscribe_all` or `clear_fields`: see `HubSpotDestination`.
        conn_id: a connection of type `consenthubspot` (templated).
        id_property: the unique property by which HubSpot knows a contact: `email`, or a custom one to which the
            primary key is mapped. With `email`, rows that share an address are one contact: only the first is sent.
        unsubscribes: the ids of subscriptions, for `on_withdrawal="unsubscribe"`.
        cleared_properties: the names of properties, for `on_withdrawal="clear_fields"`.
        legal_basis, legal_basis_explanation: recorded by HubSpot with each state of a subscription.
        business_unit_id: the brand whose subscriptions these are; None: the account's.
        nulls: `"clear"` empties the property of a NULL; `"keep"` leaves it as it is at HubSpot.
        requests_per_10_s: the most requests in any 10 seconds, over all loads of the account.
        batch_rows: see `HubSpotOptions`, for this parameter and those that are not listed here.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load.

    Raises:
        ConfigurationError: parameters, connection or fields; not retried.
        DestinationError: 401, 403, 404, a refused address, an untrusted certificate; not retried.
        DestinationUnavailableError: HubSpot did not accept a batch in time; retried by Airflow.
    """

    spec_class = HubSpotSpec

    def checked(self, own: Mapping[str, Any]) -> Mapping[str, Any]:
        """Note whether two people may share a contact, or the states of subscriptions: those of an address."""
        by_address = own["id_property"] == "email" or own["on_withdrawal"] in {"unsubscribe", "unsubscribe_all"}
        self.knows_by_identifiers = by_address or any(name.startswith("subscriptions.") for name in self.fields)
        return own
