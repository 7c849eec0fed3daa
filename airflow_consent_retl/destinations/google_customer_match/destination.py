"""Permitted rows as members of a Google Customer Match audience, through the Data Manager API.

Limits, on https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-23:

- 10,000 members a request, to add as to remove; 10 identifiers a member;
- 300 requests a minute and 100,000 a day for each Google Cloud project, polls of request states included.

A request is taken or refused as a whole, and taken is not processed: each row is `pending` under the request's id until
`confirm` says what became of it. The API tells counts, never which rows: of a partial success every row is uncertain.
It knows people by their identifiers alone. Adding somebody again changes nothing; removing one of two people who share
an e-mail removes that e-mail for both, until the other is sent again.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.google_customer_match.audience import (
    MAX_MEMBERS,
    SIGNALS,
    Account,
    CustomerMatchAudience,
    CustomerMatchOptions,
    check_signals,
    customer_match_audience,
)
from airflow_consent_retl.destinations.google_customer_match.hook import GoogleDataManagerHook
from airflow_consent_retl.destinations.google_customer_match.members import NO_IDENTIFIER, EncodedRows, MemberEncoder
from airflow_consent_retl.destinations.google_customer_match.pace import Pace
from airflow_consent_retl.errors import ConfigurationError, DestinationError
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.triggers.base import BaseTrigger
    from google.ads.datamanager_v1 import IngestionServiceClient

    from airflow_consent_retl.destinations.google_customer_match.api import Action
    from airflow_consent_retl.destinations.google_customer_match.delivery import CustomerMatchDelivery
    from airflow_consent_retl.storage.manifest import DestinationCounts

log = logging.getLogger(__name__)

_OF_THE_TIMEOUT = 0.95
_TERMS = "https://support.google.com/adspolicy/answer/6299717"


class GoogleCustomerMatchDestination(Destination):
    """Adds people to one audience, and removes them by the identifiers they were added with.

    Args:
        connect: returns the official client; closed by `commit` and `abort`.
        audience: from `customer_match_audience`.
        options: see there.
        consent_granted: whether everybody who is sent granted `ad_user_data` and `ad_personalization`. Without it
            nobody is sent; removing and asking for outcomes need no consent.
        pace: for loads that share a quota; by default one of its own.
    """

    can_remove: ClassVar[bool] = True

    def __init__(
        self,
        connect: Callable[[], IngestionServiceClient],
        audience: CustomerMatchAudience,
        options: CustomerMatchOptions,
        *,
        consent_granted: bool,
        pace: Pace | None = None,
    ) -> None:
        self._connect = connect
        self._audience = audience
        self._options = options
        self._consent_granted = consent_granted
        self.pace = pace or Pace(calls=options.requests_per_minute)
        self._lock = threading.Lock()
        self._connected: CustomerMatchDelivery | None = None
        self._load: Load | None = None
        self._encoder: MemberEncoder | None = None
        self._omitted: Counter[str] = Counter()

    @property
    def limits(self) -> Limits:
        """Members a request, and requests at the same time."""
        return Limits(batch_rows=self._options.batch_rows, concurrency=self._options.concurrency)

    @property
    def target(self) -> str:
        """The audience and its account."""
        return str(self._audience)

    def open(self, load: Load) -> None:
        """Check the fields and the connection's credentials; nothing is sent, and nobody contacted."""
        self._encoder = self._encoder_of(load)
        self._load = load
        self._delivery()

    def send(self, batch: Batch) -> Outcomes:
        """Add a batch's rows; each that the API took is pending under its request's id."""
        if self._encoder is None or self._load is None:
            raise DestinationError("the audience was not opened")
        if not self._consent_granted:
            raise ConfigurationError(
                f"nobody checked that those sent to `{self._load.destination}` granted {' and '.join(SIGNALS)}"
            )
        encoded = self._encoder.encode(batch.rows)
        if encoded.omitted:
            with self._lock:
                self._omitted.update(encoded.omitted)
        return self._change("ingest", encoded, batch.rows.num_rows, self._load)

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return each mapped field, as it is sent: hashed, but for region and postal code."""
        return self._encoder_of(load).removal_schema

    def removal_rows(self, rows: pa.RecordBatch, load: Load) -> pa.RecordBatch:
        """Return the identifiers as they are sent; all NULL for a row that is rejected."""
        return self._encoder_of(load).removal_rows(rows)

    def remove(self, batch: Batch) -> Outcomes:
        """Remove people by the identifiers they were added with; somebody without any was never there."""
        if self._load is None:
            raise DestinationError("the audience was not opened")
        columns = {name: batch.rows.column(name).to_pylist() for name in batch.rows.schema.names}
        encoded = EncodedRows(columns=columns, refused={}, omitted={})
        return self._change("remove", encoded, batch.rows.num_rows, self._load)

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        """Ask what became of a request."""
        return self._delivery().confirm(request_id, rows)

    def commit(self) -> None:
        """Close the connection: each request was final when it was taken."""
        self._close(give_up=False)

    def abort(self) -> None:
        """End waits and calls under way, and close the connection."""
        self._close(give_up=True)

    def _change(self, action: Action, encoded: EncodedRows, rows: int, load: Load) -> Outcomes:
        from airflow_consent_retl.destinations.google_customer_match.api import members_of

        members = members_of(encoded, with_consent=action == "ingest")
        changed = self._delivery().change(action, members, before_request=load.before_request)
        changed |= {row: Outcome(RowStatus.REJECTED, code) for row, code in encoded.refused.items()}
        # Somebody without an identifier was never added, and cannot be.
        nobody = Outcome(RowStatus.ACCEPTED) if action == "remove" else Outcome(RowStatus.REJECTED, NO_IDENTIFIER)
        every = [changed.get(row, nobody) for row in range(rows)]
        common = Counter(every).most_common(1)[0][0] if every else nobody
        return Outcomes(rows, common, {row: outcome for row, outcome in enumerate(every) if outcome != common})

    def _encoder_of(self, load: Load) -> MemberEncoder:
        return MemberEncoder(load.schema, hashed=self._options.hashed, on_invalid=self._options.on_invalid)

    def _delivery(self) -> CustomerMatchDelivery:
        with self._lock:
            if self._connected is None:
                client = self._connect()
                # After the client, whose hook says what is missing where it is not installed.
                from airflow_consent_retl.destinations.google_customer_match.api import DataManagerApi
                from airflow_consent_retl.destinations.google_customer_match.delivery import CustomerMatchDelivery

                api = DataManagerApi(client, pace=self.pace, timeout_s=self._options.timeout_s)
                self._connected = CustomerMatchDelivery(api, self._audience, self._options)
            return self._connected

    def _close(self, *, give_up: bool) -> None:
        with self._lock:
            connected, self._connected = self._connected, None
            if self._omitted:
                listed = ", ".join(f"{code} {count:,}" for code, count in self._omitted.most_common())
                log.warning("people were sent without their invalid values (%s)", listed)
                self._omitted.clear()
        if connected is not None:
            connected.close(give_up=give_up)


class LoadToGoogleCustomerMatchOperator(LoadOperator):
    """Keep a Google Customer Match audience at the permitted rows of one destination.

    Reads the permitted set's files and a Google Cloud connection; contacts the Data Manager API. What it sends of a
    person is SHA-256 of e-mail addresses, phone numbers and names, normalised as Google says, and region and postal
    code as they are; the same is kept in the delivered state, to remove the person later. Limits are in the module's
    docstring; it needs the extra `google`.

    Args:
        gcp_conn_id: a Google Cloud connection whose account may use the Data Manager API and the audience. Templated.
        audience_id: the audience's number. Templated.
        operating_account: the account that owns the audience: a Google Ads id, or `{"account_id": …, "account_type":
            "DISPLAY_VIDEO_ADVERTISER"}`. Templated.
        consent_signals: `{"ad_user_data": "C0004", "ad_personalization": "C0004"}`: the consent category that stands
            for each of Google's signals. Both have to be required of the destination by the policy, so that everybody
            who is sent granted both; otherwise nothing is sent. Templated.
        terms_of_service_accepted: has to be True: that the account's owner accepted the Customer Match terms,
            https://support.google.com/adspolicy/answer/6299717.
        login_account: the account that the credentials belong to, such as a manager account. Templated.
        linked_account: for data partners. Templated.
        impersonation_chain: service account to impersonate, or a chain of them. Templated.
        hashed: see `CustomerMatchOptions`, for this and the parameters down to `backoff_s`.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load. Field names are `email`, `email_2`
            … `email_10`, `phone`, `phone_2` … `phone_10`, and `given_name`, `family_name`, `region_code`,
            `postal_code`, of which all four are needed if one is there.

    Raises:
        ConfigurationError: parameters, connection, fields, or a signal whose category the policy does not require;
            not retried.
        DestinationError: the API refuses the credentials, the account or the audience; not retried.
        DestinationUnavailableError: it does not answer, or the quota is used up; retried by Airflow.
    """

    template_fields: Sequence[str] = (
        *LoadOperator.template_fields,
        "gcp_conn_id",
        "audience_id",
        "operating_account",
        "login_account",
        "linked_account",
        "consent_signals",
        "impersonation_chain",
    )

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
        self.audience_id = audience_id
        self.operating_account = operating_account
        self.consent_signals = consent_signals
        self.terms_of_service_accepted = terms_of_service_accepted
        self.gcp_conn_id = gcp_conn_id
        self.login_account = login_account
        self.linked_account = linked_account
        self.impersonation_chain = impersonation_chain
        self.hashed = hashed
        self.on_invalid = on_invalid
        self.batch_rows = batch_rows
        self.concurrency = concurrency
        self.requests_per_minute = requests_per_minute
        self.timeout_s = timeout_s
        self.max_attempts = max_attempts
        self.max_retry_s = max_retry_s
        self.backoff_s = backoff_s
        self._consent_granted = False
        self._pace: Pace | None = None

    def check_permitted(self, counts: DestinationCounts) -> None:
        """Check that everybody in the permitted set granted both of Google's signals.

        Raises:
            ConfigurationError: the policy does not say so; the category and the signal are named.
        """
        check_signals(self.consent_signals, counts, destination=self.destination)
        self._consent_granted = True

    def build_destination(self) -> GoogleCustomerMatchDestination:
        """Return the destination; contacts nobody. It sends nobody before `check_permitted` was called."""
        if not self.terms_of_service_accepted:
            raise ConfigurationError(
                f"terms_of_service_accepted has to be True: Google takes no members before its terms, {_TERMS}, are "
                "accepted in the operating account"
            )
        audience = customer_match_audience(
            audience_id=self.audience_id,
            operating_account=self.operating_account,
            login_account=self.login_account,
            linked_account=self.linked_account,
        )
        options = CustomerMatchOptions(
            hashed=self.hashed,
            on_invalid=self.on_invalid,
            batch_rows=self.batch_rows,
            concurrency=self.concurrency,
            requests_per_minute=self.requests_per_minute,
            timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
            max_retry_s=self.max_retry_s,
            backoff_s=self.backoff_s,
        )
        # One for all destinations that a task builds, one after the other: they share the quota.
        self._pace = self._pace or Pace(calls=options.requests_per_minute)
        hook = GoogleDataManagerHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        return GoogleCustomerMatchDestination(
            hook.get_conn, audience, options, consent_granted=self._consent_granted, pace=self._pace
        )

    def confirmation_trigger(self, request_ids: Sequence[str]) -> BaseTrigger | None:
        """Return what waits until Google processed these requests, or None where there are none.

        It stops waiting a little before `confirm_timeout_s`, so that its event comes before Airflow's own timeout.
        """
        from airflow_consent_retl.destinations.google_customer_match.trigger import DataManagerRequestsTrigger

        if not request_ids:
            return None
        return DataManagerRequestsTrigger(
            request_ids=request_ids,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            deadline=(datetime.now(UTC) + timedelta(seconds=_OF_THE_TIMEOUT * self.confirm_timeout_s)).isoformat(),
            poll_interval_s=self.confirm_interval_s,
            requests_per_minute=self.requests_per_minute,
            timeout_s=self.timeout_s,
        )
