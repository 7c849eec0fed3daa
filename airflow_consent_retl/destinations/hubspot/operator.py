"""The operator that keeps HubSpot's contacts at the permitted rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.destinations.hubspot.options import HubSpotSpec, HubSpotWithdrawal, LegalBasis
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.hubspot.destination import HubSpotDestination


class LoadToHubSpotOperator(LoadOperator):
    """Keep the contacts of a HubSpot account at the permitted rows of one destination.

    Reads the permitted set's files and an Airflow connection; contacts only the API of HubSpot. Its API takes 100
    contacts in a request, and 100 requests in 10 seconds (190 from the tier Professional on), which all apps of the
    account share: the specification and the pages are cited at `HubSpotDestination`.

    Fields are HubSpot's internal names of properties. A field `subscriptions.12345` is the state of that subscription,
    for `consent(…)`. The private app needs the scopes `crm.objects.contacts.read` and `.write`; for subscriptions also
    `communication_preferences.statuses.batch.read` and `.write`.

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

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *HubSpotSpec.templated)
    spec_class = HubSpotSpec

    def __init__(
        self,
        *,
        hub_id: str,
        on_withdrawal: HubSpotWithdrawal,
        conn_id: str = "consenthubspot_default",
        id_property: str = "email",
        unsubscribes: Sequence[int] = (),
        cleared_properties: Sequence[str] = (),
        legal_basis: LegalBasis | None = None,
        legal_basis_explanation: str | None = None,
        business_unit_id: int | None = None,
        nulls: Literal["clear", "keep"] = "clear",
        requests_per_10_s: int = 100,
        batch_rows: int = 100,
        concurrency: int = 4,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Two people may share an address, and with it the contact or the states of subscriptions.
        by_address = id_property == "email" or on_withdrawal in {"unsubscribe", "unsubscribe_all"}
        names_states = any(name.startswith("subscriptions.") for name in self.fields)
        self.knows_by_identifiers = by_address or names_states  # type: ignore[misc]  # of the class elsewhere
        # Airflow requires templated parameters as attributes.
        self.hub_id = hub_id
        self.conn_id = conn_id
        self._spec = partial(
            HubSpotSpec,
            on_withdrawal=on_withdrawal,
            id_property=id_property,
            unsubscribes=unsubscribes,
            cleared_properties=cleared_properties,
            legal_basis=legal_basis,
            legal_basis_explanation=legal_basis_explanation,
            business_unit_id=business_unit_id,
            nulls=nulls,
            requests_per_10_s=requests_per_10_s,
            batch_rows=batch_rows,
            concurrency=concurrency,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
        )

    def build_destination(self) -> HubSpotDestination:
        """Return the destination; reads the connection and contacts nothing."""
        return self._spec(conn_id=self.conn_id, hub_id=self.hub_id).build()
