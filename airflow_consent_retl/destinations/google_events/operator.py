"""The operator that sends permitted events to Google."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.destinations.data_manager.signals import SIGNALS, check_answered, check_signals
from airflow_consent_retl.destinations.google_events.spec import MAX_EVENTS, GoogleEventsSpec
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.data_manager.accounts import Account
    from airflow_consent_retl.destinations.google_events.destination import GoogleEventsDestination
    from airflow_consent_retl.storage.manifest import PermittedCounts


class LoadToGoogleEventsOperator(LoadOperator):
    """Send the permitted events of one destination to Google: conversions of Google Ads, Floodlight, or Analytics.

    The model has one row for each event, and the transaction id as its primary key. Reads the permitted set's files and
    a Google Cloud connection; contacts the Data Manager API. It sends SHA-256 of e-mail addresses, phone numbers and
    names in Google's form. Limits and answers are in the docstring of the module `destination`. Needs the extra
    `google`.

    Events cannot be taken back: the load needs `accept_no_removal=True`, and `mode="insert"`, which sends each event
    once and changes none later.

    Args:
        gcp_conn_id: a Google Cloud connection whose account may use the Data Manager API and the account. Templated.
        product_destination_id: the id of the conversion action, the Floodlight activity, or the data stream of
            Analytics (its measurement id). Templated.
        operating_account: the account that owns it: a Google Ads id, or `{"account_id": …, "account_type":
            "GOOGLE_ANALYTICS_PROPERTY"}`. Templated.
        consent_signals: `{"ad_user_data": "C0004"}`: the consent category that stands for each of Google's signals that
            is no field. The policy has to require it for the destination; otherwise nothing is sent. Templated.
        login_account: the account that the credentials belong to, such as a manager account. Templated.
        linked_account: for data partners. Templated.
        impersonation_chain: service account to impersonate, or a chain of them. Templated.
        hashed: see `DataManagerOptions`, for this parameter and those down to `backoff_s`.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load. Needed fields are `transaction_id`
            and `event_timestamp` (a timestamp with a time zone, or seconds since 1970), and one that identifies a
            person or a click: `email`, `email_2` … `email_10`, `phone`, `phone_2` … `phone_10`, all four of
            `given_name`, `family_name`, `region_code`, `postal_code`; `gclid`, `gbraid`, `wbraid`, `dclid`,
            `impression_id`, `match_id`, `mobile_device_id`, `session_attributes`; `client_id`, `user_id`,
            `app_instance_id`. Others are `event_source` (such as `WEB`), `event_name`, `currency`, `conversion_value`,
            `conversion_count`, `custom_variables.…`, `event_parameters.…`; and the signals `ad_user_data` and
            `ad_personalization`, each `consent('C0004', granted='granted', otherwise='denied')` of
            `airflow_consent_retl.fields`.

    Raises:
        ConfigurationError: parameters, connection, fields, or a signal whose category the policy does not require;
            not retried.
        DestinationError: the API refuses the credentials, the account or the target; not retried.
        DestinationUnavailableError: the API does not answer, or the quota is used up; retried by Airflow.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *GoogleEventsSpec.templated)
    spec_class = GoogleEventsSpec

    def __init__(
        self,
        *,
        product_destination_id: str,
        operating_account: Account,
        consent_signals: Mapping[str, str] | None = None,
        gcp_conn_id: str = "google_cloud_default",
        login_account: Account | None = None,
        linked_account: Account | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        hashed: bool = False,
        on_invalid: Literal["reject", "omit"] = "reject",
        batch_rows: int = MAX_EVENTS,
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
        self.product_destination_id = product_destination_id
        self.operating_account = operating_account
        self.consent_signals = consent_signals
        self.gcp_conn_id = gcp_conn_id
        self.login_account = login_account
        self.linked_account = linked_account
        self.impersonation_chain = impersonation_chain
        self._spec = partial(
            GoogleEventsSpec,
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
        self._built: GoogleEventsSpec | None = None

    def check_permitted(self, counts: PermittedCounts) -> None:
        """Check that each of Google's signals is a field with a person's own answer, or was granted by everyone.

        Raises:
            ConfigurationError: it is neither; the message names the category and the signal.
        """
        check_answered(self.fields)
        answered = [name for name in SIGNALS if name in self.fields]
        check_signals(self.consent_signals or {}, counts, destination=self.destination, answered=answered)
        self._consent_granted = True

    def build_destination(self) -> GoogleEventsDestination:
        """Return the destination; contacts nothing. It sends no event before `check_permitted` was called."""
        return self.destination_spec().build(consent_granted=self._consent_granted)

    def destination_spec(self) -> GoogleEventsSpec:
        """Return the parameters, which a trigger builds the destination from."""
        # One spec for all destinations that a task builds, one after the other: they share the quota.
        self._built = self._built or self._spec(
            product_destination_id=self.product_destination_id,
            operating_account=self.operating_account,
            consent_signals=self.consent_signals,
            gcp_conn_id=self.gcp_conn_id,
            login_account=self.login_account,
            linked_account=self.linked_account,
            impersonation_chain=self.impersonation_chain,
        )
        return self._built
