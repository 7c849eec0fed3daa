"""The operator that keeps a Google Customer Match audience equal to the permitted rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.destinations.data_manager.signals import SIGNALS, check_answered, check_signals
from airflow_consent_retl.destinations.google_customer_match.audience import MAX_MEMBERS
from airflow_consent_retl.destinations.google_customer_match.customer_match_spec import CustomerMatchSpec
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.data_manager.accounts import Account
    from airflow_consent_retl.destinations.google_customer_match.destination import GoogleCustomerMatchDestination
    from airflow_consent_retl.storage.manifest import PermittedCounts


class LoadToGoogleCustomerMatchOperator(LoadOperator):
    """Keep a Google Customer Match audience equal to the permitted rows of one destination.

    Reads the permitted set's files and a Google Cloud connection; contacts the Data Manager API. For each person it
    sends SHA-256 of e-mail addresses, phone numbers and names, normalised by Google's rules, and region and postal code
    as they are; the delivered state stores the same values, to remove the person later. The API's limits are in the
    docstring of the module `destination`. Needs the extra `google`.

    Args:
        gcp_conn_id: a Google Cloud connection whose account may use the Data Manager API and the audience. Templated.
        audience_id: the audience's number. Templated.
        operating_account: the account that owns the audience: a Google Ads id, or `{"account_id": …, "account_type":
            "DISPLAY_VIDEO_ADVERTISER"}`. Templated.
        consent_signals: `{"ad_user_data": "C0004", "ad_personalization": "C0004"}`: the consent category that stands
            for each of Google's signals. The policy has to require both for the destination, so that everyone
            who is sent granted both; otherwise nothing is sent. `ad_personalization` may be a field instead, which
            tells Google each person's own answer. Templated.
        terms_of_service_accepted: has to be True: it states that the account's owner accepted the Customer Match terms,
            https://support.google.com/adspolicy/answer/6299717.
        login_account: the account that the credentials belong to, such as a manager account. Templated.
        linked_account: for data partners. Templated.
        impersonation_chain: service account to impersonate, or a chain of them. Templated.
        hashed: see `CustomerMatchOptions`, for this parameter and those down to `backoff_s`.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load. Field names are `email`, `email_2`
            … `email_10`, `phone`, `phone_2` … `phone_10`, and `given_name`, `family_name`, `region_code`,
            `postal_code`, of which all four are needed if one is mapped; and `ad_personalization`, which is
            `consent('C0004', granted='granted', otherwise='denied')` of `airflow_consent_retl.fields`.

    Raises:
        ConfigurationError: parameters, connection, fields, or a signal whose category the policy does not require;
            not retried.
        DestinationError: the API refuses the credentials, the account or the audience; not retried.
        DestinationUnavailableError: the API does not answer, or the quota is used up; retried by Airflow.
    """

    nests_fields = False
    template_fields: Sequence[str] = (*LoadOperator.template_fields, *CustomerMatchSpec.templated)
    spec_class = CustomerMatchSpec
    knows_by_identifiers = True

    def __init__(
        self,
        *,
        audience_id: str,
        operating_account: Account,
        consent_signals: Mapping[str, str],
        terms_of_service_accepted: bool = False,
        gcp_conn_id: str = "google_cloud_default",
        login_account: Account | None = None,
        linked_account: Account | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        hashed: bool = False,
        on_invalid: Literal["reject", "omit"] = "reject",
        batch_rows: int = MAX_MEMBERS,
        concurrency: int = 2,
        requests_per_minute: int = 300,
        timeout_s: float = 120,
        max_attempts: int = 6,
        max_retry_s: float = 600,
        backoff_s: float = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_answered(self.fields)
        # Airflow requires templated parameters as attributes.
        self.audience_id = audience_id
        self.operating_account = operating_account
        self.consent_signals = consent_signals
        self.gcp_conn_id = gcp_conn_id
        self.login_account = login_account
        self.linked_account = linked_account
        self.impersonation_chain = impersonation_chain
        self._spec = partial(
            CustomerMatchSpec,
            terms_of_service_accepted=terms_of_service_accepted,
            hashed=hashed,
            on_invalid=on_invalid,
            batch_rows=batch_rows,
            concurrency=concurrency,
            requests_per_minute=requests_per_minute,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
            backoff_s=backoff_s,
        )
        self._consent_granted = False
        self._built: CustomerMatchSpec | None = None

    def check_permitted(self, counts: PermittedCounts) -> None:
        """Check that everyone in the permitted set granted both of Google's signals.

        Raises:
            ConfigurationError: the policy does not require it; the message names the category and the signal.
        """
        check_answered(self.fields)
        answered = [name for name in SIGNALS if name in self.fields]
        check_signals(self.consent_signals, counts, destination=self.destination, answered=answered)
        self._consent_granted = True

    def build_destination(self) -> GoogleCustomerMatchDestination:
        """Return the destination; contacts nothing. It sends no one before `check_permitted` was called."""
        return self.destination_spec().build(consent_granted=self._consent_granted)

    def destination_spec(self) -> CustomerMatchSpec:
        """Return the parameters, which a trigger builds the destination from."""
        # One spec for all destinations that a task builds, one after the other: they share the quota.
        self._built = self._built or self._spec(
            audience_id=self.audience_id,
            operating_account=self.operating_account,
            consent_signals=self.consent_signals,
            gcp_conn_id=self.gcp_conn_id,
            login_account=self.login_account,
            linked_account=self.linked_account,
            impersonation_chain=self.impersonation_chain,
        )
        return self._built
