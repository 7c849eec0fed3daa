"""Single calls of the Data Manager API through the official client, at the pace of its quota, without retries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from google.ads.datamanager_v1 import types
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError

from airflow_consent_retl.contract.outcomes import is_request_id
from airflow_consent_retl.destinations.data_manager.messages import destination_of
from airflow_consent_retl.destinations.data_manager.request_states import (
    WORDS,
    status_of,
    status_of_failure,
    warnings_of,
)
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.counted_delivery import AcceptedRequest
from airflow_consent_retl.destinations.http.piece_delivery import RefusedRequestError, RefusedRowsError
from airflow_consent_retl.destinations.http.rpc_failures import CREDENTIALS, failure_of

if TYPE_CHECKING:
    from google.ads.datamanager_v1 import IngestionServiceClient

    from airflow_consent_retl.destinations.data_manager.accounts import GoogleTarget
    from airflow_consent_retl.destinations.http.pace import Pace
    from airflow_consent_retl.destinations.http.request_counts import RequestStatus

Action = Literal["ingest", "remove"]


class DataManagerApi:
    """The calls that Customer Match and events need. Any number of threads may call.

    Args:
        client: from `GoogleDataManagerHook`; closed with this.
        pace: shared by everything that calls with the same quota.
        timeout_s: seconds for each answer.
    """

    def __init__(self, client: IngestionServiceClient, *, pace: Pace, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self.pace = pace

    def change(self, action: Action, audience: GoogleTarget, members: Iterable[Any]) -> AcceptedRequest:
        """Add members to an audience, or remove them from it.

        Args:
            members: from `members_of`, at most 10,000.

        Raises:
            AttemptError: another try may help.
            RefusedRowsError: another try would not help: members are malformed.
            RefusedRequestError: another try would not help: no request can succeed.
        """
        destination = destination_of(audience)
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
        return _accepted(answer)

    def ingest_events(self, target: GoogleTarget, events: Iterable[Any]) -> AcceptedRequest:
        """Send events, each with its own consent. Raises as `change`.

        Args:
            target: where to.
            events: raw messages, at most 2,000.
        """
        request = types.IngestEventsRequest(destinations=[destination_of(target)], encoding=types.Encoding.HEX)
        types.IngestEventsRequest.pb(request).events.extend(events)
        return _accepted(self._call(self._client.ingest_events, request))

    def status(self, request_id: str) -> RequestStatus:
        """Return the status of a request.

        Raises:
            AttemptError: another try may help.
            RefusedRequestError: another try would not help.
        """
        try:
            request = types.RetrieveRequestStatusRequest(request_id=request_id)
            return status_of(self._call(self._client.retrieve_request_status, request))
        except (RefusedRowsError, RefusedRequestError) as failure:
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
            failure = failure_of(error, WORDS)
        except GoogleAuthError:
            failure = AttemptError(CREDENTIALS, maybe_applied=False)
        except ValueError:
            # The client's error after it was closed.
            failure = AttemptError("given_up", maybe_applied=False)
        if isinstance(failure, AttemptError) and failure.retry_after_s is not None:
            self.pace.hold(failure.retry_after_s)
        raise failure


def _accepted(answer: Any) -> AcceptedRequest:
    if not is_request_id(answer.request_id):
        raise AttemptError("no_request_id", maybe_applied=True)
    return AcceptedRequest(answer.request_id, warnings_of(answer))
