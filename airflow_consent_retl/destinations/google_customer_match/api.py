"""Single calls of the Data Manager API through the official client, at the pace of its quota, without retries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from google.ads.datamanager_v1 import types
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

from airflow_consent_retl.contract.outcomes import is_request_id
from airflow_consent_retl.destinations.google_customer_match.faults import (
    RefusedMembersError,
    RefusedRequestError,
)
from airflow_consent_retl.destinations.google_customer_match.members import ADDRESS_FIELDS
from airflow_consent_retl.destinations.google_customer_match.request_states import (
    CREDENTIALS,
    RequestStatus,
    failure_of,
    status_of,
    status_of_failure,
    warnings_of,
)
from airflow_consent_retl.destinations.http.attempt import AttemptError

if TYPE_CHECKING:
    from google.ads.datamanager_v1 import IngestionServiceClient

    from airflow_consent_retl.destinations.google_customer_match.audience import CustomerMatchAudience, GoogleAccount
    from airflow_consent_retl.destinations.google_customer_match.members import EncodedRows
    from airflow_consent_retl.destinations.http.pace import Pace

Action = Literal["ingest", "remove"]


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """A request that the API accepted for processing: its id, and the reasons of its warnings."""

    request_id: str
    warnings: Counter[str]


class DataManagerApi:
    """The three calls that Customer Match needs. Any number of threads may call.

    Args:
        client: from `GoogleDataManagerHook`; closed with this.
        pace: shared by everything that calls with the same quota.
        timeout_s: seconds for each answer.
    """

    def __init__(self, client: IngestionServiceClient, *, pace: Pace, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self.pace = pace

    def change(self, action: Action, audience: CustomerMatchAudience, members: Iterable[Any]) -> AcceptedRequest:
        """Add members to an audience, or remove them from it.

        Args:
            members: from `members_of`, at most 10,000.

        Raises:
            AttemptError: another try may help.
            RefusedMembersError: another try would not help: members are malformed.
            RefusedRequestError: another try would not help: no request can succeed.
        """
        destination = _destination(audience)
        if action == "ingest":
            ingestion = types.IngestAudienceMembersRequest(
                destinations=[destination],
                encoding=types.Encoding.HEX,
                terms_of_service=types.TermsOfService(
                    customer_match_terms_of_service_status=types.TermsOfServiceStatus.ACCEPTED
                ),
            )
            types.IngestAudienceMembersRequest.pb(ingestion).audience_members.extend(members)
            answer = self._call(self._client.ingest_audience_members, ingestion)
        else:
            removal = types.RemoveAudienceMembersRequest(destinations=[destination], encoding=types.Encoding.HEX)
            types.RemoveAudienceMembersRequest.pb(removal).audience_members.extend(members)
            answer = self._call(self._client.remove_audience_members, removal)
        request_id = answer.request_id
        if not is_request_id(request_id):
            raise AttemptError("no_request_id", maybe_applied=True)
        return AcceptedRequest(request_id, warnings_of(answer))

    def status(self, request_id: str) -> RequestStatus:
        """Return the status of a request.

        Raises:
            AttemptError: another try may help.
            RefusedRequestError: another try would not help.
        """
        try:
            request = types.RetrieveRequestStatusRequest(request_id=request_id)
            return status_of(self._call(self._client.retrieve_request_status, request))
        except (RefusedMembersError, RefusedRequestError) as failure:
            status = status_of_failure(failure)
            if status is None:
                raise
            return status

    def close(self) -> None:
        """Close the connection; running calls end with a transient fault."""
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _call(self, method: Callable[..., Any], request: object) -> Any:
        try:
            # The client's own retries would send rows without checking that they may still be sent.
            return method(request=request, retry=None, timeout=self._timeout_s)
        except GoogleAPICallError as error:
            failure = failure_of(error)
        except GoogleAuthError:
            failure = AttemptError(CREDENTIALS, maybe_applied=False)
        except ValueError:
            # The client's error after it was closed.
            failure = AttemptError("given_up", maybe_applied=False)
        if isinstance(failure, AttemptError) and failure.retry_after_s is not None:
            self.pace.hold(failure.retry_after_s)
        raise failure


def members_of(encoded: EncodedRows, *, with_consent: bool) -> dict[int, Any]:
    """Return a message for each row that is not refused and has an identifier.

    Args:
        encoded: the rows.
        with_consent: whether each message states that its person granted `ad_user_data` and `ad_personalization`.
    """
    member_type = types.AudienceMember.pb(types.AudienceMember()).__class__
    granted = int(types.ConsentStatus.CONSENT_GRANTED)
    names = list(encoded.columns)
    members: dict[int, Any] = {}
    # Raw messages: the client's own classes take twenty times as long.
    for row, values in enumerate(zip(*encoded.columns.values(), strict=True)):
        if row in encoded.refused or not any(values):
            continue
        member = member_type()
        identifiers = member.user_data.user_identifiers
        address = {}
        for name, value in zip(names, values, strict=True):
            if value is None:
                continue
            if name in ADDRESS_FIELDS:
                address[name] = value
            elif name.startswith("email"):
                identifiers.add().email_address = value
            else:
                identifiers.add().phone_number = value
        if address:
            identifier = identifiers.add().address
            for name, value in address.items():
                setattr(identifier, name, value)
        if with_consent:
            member.consent.ad_user_data = granted
            member.consent.ad_personalization = granted
        members[row] = member
    return members


def _destination(audience: CustomerMatchAudience) -> types.Destination:
    destination = types.Destination(
        operating_account=_account(audience.operating_account), product_destination_id=audience.audience_id
    )
    if audience.login_account is not None:
        destination.login_account = _account(audience.login_account)
    if audience.linked_account is not None:
        destination.linked_account = _account(audience.linked_account)
    return destination


def _account(account: GoogleAccount) -> types.ProductAccount:
    return types.ProductAccount(account_id=account.account_id, account_type=account.account_type)
