"""The options of Braze, checked: the consequence of a withdrawal, and the kinds of subscription groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.braze import VENDOR
from airflow_consent_retl.destinations.http.options import HttpOptions

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.braze.destination import BrazeDestination

BrazeIdentifier = Literal["external_id", "email", "user_alias"]
BrazeWithdrawal = Literal["clear_attribute", "unsubscribe", "delete"]
WITHDRAWAL_CHOICES: dict[str, str] = {
    "clear_attribute": "The attributes that the load names get the values that it names; the user stays.",
    "unsubscribe": "The user is unsubscribed from the subscription groups that the load names; the user stays.",
    "delete": "Braze deletes the user for good.",
}
MOST_ROWS = 75


@parameter_class
class BrazeOptions(HttpOptions):
    """The form of removals; the other options are in `HttpOptions`.

    Args:
        on_withdrawal: what happens to a person who is removed: see `BrazeDestination`.
        identifier: how Braze knows users: `external_id`; `email`, which finds one of the users with the address and
            makes a user that has nothing else; or `user_alias`. The primary key is mapped to `external_id`, `email` or
            `alias_name`.
        alias_label: of all aliases, for `user_alias`.
        withdrawn_attributes: for `clear_attribute`: attributes and their values from then on, such as
            `{"newsletter_audience": False, "score": None}`; None removes the attribute.
        unsubscribes: the ids of subscription groups, for `unsubscribe`.
        phone_groups: the ids of those groups among the fields that are of SMS or WhatsApp: their opt-outs belong to
            phone numbers, those of the others to e-mail addresses.
        requests_per_3_s: the most requests in 3 seconds of Braze's clock, over all loads of the workspace.
        exports_per_minute: the most exports of profiles in a minute of its clock, likewise: 250, or 2,500 for customers
            since before 22 August 2024.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    request_rows: ClassVar[tuple[int, str]] = (MOST_ROWS, f"Braze takes at most {MOST_ROWS} objects in a request")
    counts: ClassVar[tuple[str, ...]] = ("requests_per_3_s", "exports_per_minute")
    withdrawals: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"identifier": get_args(BrazeIdentifier)}
    needed: ClassVar[Mapping[tuple[str, str], str]] = {("identifier", "user_alias"): "alias_label"}
    companions: ClassVar[Mapping[str, str]] = {"clear_attribute": "withdrawn_attributes", "unsubscribe": "unsubscribes"}

    on_withdrawal: BrazeWithdrawal
    identifier: BrazeIdentifier = "external_id"
    alias_label: str | None = None
    withdrawn_attributes: Mapping[str, str | float | bool | None] | None = None
    unsubscribes: Sequence[str] = ()
    phone_groups: Sequence[str] = ()
    requests_per_3_s: int = 3000
    exports_per_minute: int = 250
    batch_rows: int = MOST_ROWS
    concurrency: int = 4


@parameter_class
class BrazeSpec(BrazeOptions, DestinationSpec):
    """The options, the connection and the workspace.

    Args:
        workspace_name: of the Braze workspace, for the ledger: its key names none.
        conn_id: a connection of type `consentbraze`.
    """

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "workspace_name")

    workspace_name: str
    conn_id: str = "consentbraze_default"

    def build(self) -> BrazeDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        from airflow_consent_retl.destinations.braze.destination import BrazeDestination
        from airflow_consent_retl.destinations.http.vendor import vendor_address

        return BrazeDestination(vendor_address(self.conn_id, VENDOR, "/"), self, account=self.workspace_name)
