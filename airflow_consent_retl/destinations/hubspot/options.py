"""The options of HubSpot, checked: the identifier of contacts, the consequence of a withdrawal, and the legal basis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.contact_options import ContactOptions
from airflow_consent_retl.destinations.hubspot import VENDOR

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.hubspot.destination import HubSpotDestination

HubSpotWithdrawal = Literal["archive", "privacy_delete", "unsubscribe", "unsubscribe_all", "clear_fields"]
LegalBasis = Literal[
    "CONSENT_WITH_NOTICE",
    "LEGITIMATE_INTEREST_CLIENT",
    "LEGITIMATE_INTEREST_OTHER",
    "LEGITIMATE_INTEREST_PQL",
    "NON_GDPR",
    "PERFORMANCE_OF_CONTRACT",
    "PROCESS_AND_STORE",
]
WITHDRAWAL_CHOICES: dict[str, str] = {
    "archive": "The contact goes to the recycling bin, where HubSpot keeps it for 90 days.",
    "privacy_delete": "HubSpot deletes the contact and all its content for good, as its GDPR deletion.",
    "unsubscribe": "The e-mail address is unsubscribed from the subscriptions that the load names; the contact stays.",
    "unsubscribe_all": "The e-mail address is unsubscribed from all e-mail; the contact stays.",
    "clear_fields": "The properties that the load names are emptied; the contact stays.",
}
MOST_ROWS = 100


@parameter_class
class HubSpotOptions(ContactOptions):
    """The form of contacts and removals; the other options are in `ContactOptions` and `HttpOptions`.

    Args:
        on_withdrawal: what happens to a person who is removed: see `HubSpotDestination`.
        legal_basis: that HubSpot records with each state of a subscription.
        legal_basis_explanation: the words that HubSpot records with it, such as `Preference centre, category C0005`.
        business_unit_id: the brand whose subscriptions these are; None: the account's.
        requests_per_10_s: the most requests in any 10 seconds, over all loads of the account: 100, or 190 from the
            tier Professional on; an app with OAuth has 110 of its own. Leave a part to other apps.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    request_rows: ClassVar[tuple[int, str]] = (MOST_ROWS, f"HubSpot takes at most {MOST_ROWS} contacts in a request")
    counts: ClassVar[tuple[str, ...]] = ("requests_per_10_s", "business_unit_id")
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        **ContactOptions.choices,
        "legal_basis": (*get_args(LegalBasis), None),
    }
    required: ClassVar[Mapping[tuple[str, str], tuple[str, ...]]] = {
        ("on_withdrawal", "unsubscribe"): ("legal_basis", "legal_basis_explanation"),
    }
    withdrawals: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES

    on_withdrawal: HubSpotWithdrawal
    legal_basis: LegalBasis | None = None
    legal_basis_explanation: str | None = None
    business_unit_id: int | None = None
    requests_per_10_s: int = 100
    batch_rows: int = MOST_ROWS
    concurrency: int = 4


@parameter_class
class HubSpotSpec(HubSpotOptions, DestinationSpec):
    """The options, the connection and the account.

    Args:
        hub_id: the number of the HubSpot account, for the ledger: its token names no account.
        conn_id: a connection of type `consenthubspot`.
    """

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "hub_id")

    hub_id: str
    conn_id: str = "consenthubspot_default"

    def build(self) -> HubSpotDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        from airflow_consent_retl.destinations.http.vendor import vendor_address
        from airflow_consent_retl.destinations.hubspot.destination import HubSpotDestination

        return HubSpotDestination(vendor_address(self.conn_id, VENDOR, "/"), self, account=self.hub_id)
