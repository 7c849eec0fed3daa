"""The options of Klaviyo, checked: the identifier of profiles, their list, and the consequence of a withdrawal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.channel_options import UNSUBSCRIBE_CHANNELS, Channel, ChannelOptions
from airflow_consent_retl.destinations.klaviyo import VENDOR
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.contract.checked_options import OptionCheck
    from airflow_consent_retl.destinations.klaviyo.destination import KlaviyoDestination

MOST_ROWS, MOST_REMOVALS, MOST_SUBSCRIBED, MOST_BYTES = 10_000, 100, 1000, 5_000_000
CHANNELS = (
    Channel("email", "email", "subscriptions.email.marketing"),
    Channel("sms", "phone_number", "subscriptions.sms.marketing"),
)
KlaviyoId = Literal["external_id", "email", "phone_number"]
KlaviyoWithdrawal = Literal["leave_list", "unsubscribe", "unsubscribe_channels", "suppress", "privacy_delete"]
WITHDRAWAL_CHOICES: dict[str, str] = {
    "leave_list": "The profile leaves the list, and nothing else changes.",
    "unsubscribe": "The profile is unsubscribed from the list's e-mail, if it is on the list; the profile stays.",
    UNSUBSCRIBE_CHANNELS: "The profile is unsubscribed from the channels that the load names; the profile stays.",
    "suppress": "The profile's e-mail address gets no e-mail marketing any more; the profile stays.",
    "privacy_delete": "Klaviyo deletes the profile and its history for good, as its privacy deletion.",
}


def _needs_list(options: KlaviyoSpec) -> Iterator[Problem]:
    if options.on_withdrawal in {"leave_list", "unsubscribe"} and options.list_id is None:
        yield Problem(
            "list_id",
            f'on_withdrawal="{options.on_withdrawal}" needs a list_id: without a list, Klaviyo would unsubscribe '
            "people from everything",
        )


@parameter_class
class KlaviyoSpec(ChannelOptions, DestinationSpec):
    """The connection, the account, the form of profiles and removals.

    The other options are in `ChannelOptions` and `HttpOptions`. The channels are `email` and `sms`.

    Args:
        account_id: the id of the Klaviyo account, for the ledger: its key names no account.
        conn_id: a connection of type `consentklaviyo`.
        on_withdrawal: what happens to a person who is removed: see `KlaviyoDestination`.
        known_by: the identifier that the primary key is mapped to. With `email` or `phone_number`, rows that share one
            are one profile.
        list_id: the list that profiles are put on; `leave_list` and `unsubscribe` need it. None: no list.
        nulls: `"clear"` empties the attribute of a NULL; `"keep"` leaves it as it is at Klaviyo.
        batch_rows: maximum number of profiles in a job: 10,000.
        removal_batch_rows: maximum number of people in a removal: 100.
        max_body_bytes: of a request: 5 MB.
        requests_per_s: the most requests in a second, over all loads of the account: 10 for the import.
        requests_per_minute: the same for a minute: 150.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "account_id", "list_id")
    channels: ClassVar[tuple[Channel, ...]] = CHANNELS
    internal: ClassVar[frozenset[str]] = frozenset({"backoff_s"})
    counts: ClassVar[tuple[str, ...]] = ("requests_per_s", "requests_per_minute")
    most: ClassVar[Mapping[str, float]] = {
        "batch_rows": MOST_ROWS,
        "removal_batch_rows": MOST_REMOVALS,
        "max_body_bytes": MOST_BYTES,
    }
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "known_by": get_args(KlaviyoId),
        "nulls": ("clear", "keep"),
    }
    patterns: ClassVar[Mapping[str, tuple[str, str]]] = {
        "list_id": (r"[A-Za-z0-9]{1,40}", "the id of a list, such as `Y6nRLr`")
    }
    withdrawals: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    checks: ClassVar[tuple[OptionCheck, ...]] = (_needs_list,)

    account_id: str
    conn_id: str = "consentklaviyo_default"
    on_withdrawal: KlaviyoWithdrawal
    known_by: KlaviyoId = "external_id"
    list_id: str | None = None
    nulls: Literal["clear", "keep"] = "clear"
    batch_rows: int = MOST_ROWS
    removal_batch_rows: int | None = MOST_REMOVALS
    concurrency: int = 2
    timeout_s: float = 60
    max_body_bytes: int = MOST_BYTES
    requests_per_s: int = 10
    requests_per_minute: int = 150

    def build(self) -> KlaviyoDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        from airflow_consent_retl.destinations.http.vendor import vendor_address
        from airflow_consent_retl.destinations.klaviyo.destination import KlaviyoDestination

        return KlaviyoDestination(vendor_address(self.conn_id, VENDOR, "/"), self, account_id=self.account_id)
