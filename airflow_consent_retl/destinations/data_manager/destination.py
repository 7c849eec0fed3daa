"""The base of destinations of the Data Manager API: the connection, the outcomes of requests, and the pace.

The API accepts or refuses a request as a whole and processes it later: each row is `pending` under the request's id
until `confirm` returns its outcome. The API reports counts, never rows: after a partial success every row is uncertain.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.account_rate import AccountRate
from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.contract.destination import Destination, Limits, Load
from airflow_consent_retl.contract.opened import opened
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.data_manager.accounts import OVER_QUOTA, GoogleTarget
from airflow_consent_retl.destinations.data_manager.consent_signals import SIGNALS
from airflow_consent_retl.destinations.data_manager.members import field_of
from airflow_consent_retl.destinations.http.account_pace import AccountPace
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from google.ads.datamanager_v1 import IngestionServiceClient

    from airflow_consent_retl.destinations.data_manager.api import AcceptedRequest, DataManagerApi
    from airflow_consent_retl.destinations.data_manager.options import DataManagerOptions
    from airflow_consent_retl.destinations.data_manager.request_batches import DataManagerDelivery

log = module_log(__name__)


class DataManagerDestination(Destination):
    """Sends rows to one target, and asks for their outcomes.

    Args:
        connect: returns the official client; `commit` and `abort` close it.
        place: the target.
        options: see there.
        consent_granted: whether Google's signals that are no fields were granted by everyone who is sent. If not,
            no one is sent; removing people and asking for outcomes need no consent.
        endpoint: returns the endpoint of the API; None: Google's own.
        pace: of all destinations of a task; by default one of its own. An open load keeps the quota together with the
            other workers of the ledger, too.
        quota: returns what Google counts requests by, as far as the connection tells it.
    """

    def __init__(
        self,
        connect: Callable[[], IngestionServiceClient],
        place: GoogleTarget,
        options: DataManagerOptions,
        *,
        consent_granted: bool,
        pace: Pace | None = None,
        quota: Callable[[], str] = lambda: "Google",
        endpoint: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._place = place
        self._options = options
        self._consent_granted = consent_granted
        self._endpoint = endpoint
        self._quota = quota
        self.pace = pace or Pace(requests=options.requests_per_minute, code=OVER_QUOTA)
        self._lock = threading.Lock()
        self._connected: DataManagerDelivery | None = None
        self._load: Load | None = None
        self._omitted: Counter[str] = Counter()

    @property
    def limits(self) -> Limits:
        """The limits on rows in a request, on requests at the same time, and on those of a minute of the project."""
        options = self._options
        rate = AccountRate(
            account=self._quota(), requests=options.requests_per_minute, period_s=60, vendor="Google's Data Manager API"
        )
        return Limits(batch_rows=options.batch_rows, concurrency=options.concurrency, account=rate)

    @property
    def target(self) -> str:
        """The target, its account, and the endpoint of the API if it is not Google's own."""
        linked = self._place.linked_account
        through = f" linked to {linked.account_type} account {linked.account_id}" if linked else ""
        endpoint = self._endpoint()
        return f"{self._place}{through}{f' at {endpoint}' if endpoint else ''}"

    @property
    def dataset_name(self) -> DatasetName:
        """The target and its account, at the API's host."""
        # https://developers.google.com/data-manager/api/reference/rest (read 2026-11-29)
        return DatasetName(f"https://{self._endpoint() or 'datamanager.googleapis.com'}", str(self._place))

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is a name of one of Google's enumerations."""
        from airflow_consent_retl.destinations.data_manager.request_states import is_google_code

        return is_google_code(code)

    def open(self, load: Load) -> None:
        """Check the fields and the connection's credentials; nothing is sent or contacted."""
        self.check_fields(load)
        self._load = load
        self._delivery()

    @abstractmethod
    def check_fields(self, load: Load) -> None:
        """Check the fields of a load, and keep what encodes them.

        Raises:
            ConfigurationError: they are wrong.
        """

    def check(self, load: Load) -> None:
        """Check as `open` does: nothing is sent or contacted."""
        try:
            self.open(load)
        finally:
            self.abort()

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        """Ask for the outcomes of a request."""
        return self._delivery().confirm(request_id, rows)

    def is_processed(self, request_id: str) -> bool:
        """Ask for the state of a request."""
        return self._delivery().is_processed(request_id)

    def commit(self) -> None:
        """Close the connection: each request was final when the API accepted it."""
        self._close(give_up=False)

    def abort(self) -> None:
        """End waits and running calls, and close the connection."""
        self._close(give_up=True)

    @property
    def load(self) -> Load:
        """The load.

        Raises:
            DestinationError: the destination was not opened.
        """
        return opened(self._load, f"the {self._place.noun}")

    def check_consent(self, load: Load) -> None:
        """Check that people may be sent.

        Raises:
            ConfigurationError: it was not checked that they granted Google's signals.
        """
        if not self._consent_granted:
            raise ConfigurationError(
                f"it was not checked that the people sent to `{load.destination}` granted {' and '.join(SIGNALS)}"
            )

    def note_omitted(self, omitted: Mapping[str, int]) -> None:
        """Count values that were left out, for the log."""
        if omitted:
            with self._lock:
                self._omitted.update(omitted)

    def deliver(
        self,
        messages: Mapping[int, Any],
        pieces: list[list[int]],
        call: Callable[[DataManagerApi, GoogleTarget, list[Any]], AcceptedRequest],
        load: Load,
    ) -> dict[int, Outcome]:
        """Send raw messages by their rows in these pieces, and return the outcome of each."""
        sent = self._delivery().deliver(messages, pieces, call, before_request=load.before_request)
        names = load.schema.names
        return {row: replace(one, field=field_of(one.field, names)) if one.field else one for row, one in sent.items()}

    def _delivery(self) -> DataManagerDelivery:
        with self._lock:
            if self._connected is None:
                client = self._connect()
                # Imported after the client: without the extra, the client's hook raises an error that names it.
                from airflow_consent_retl.destinations.data_manager.api import DataManagerApi
                from airflow_consent_retl.destinations.data_manager.request_batches import DataManagerDelivery

                pace, limits = self.pace, self.limits
                # A trigger asks about a request, and has no load.
                if self._load is not None:
                    pace = AccountPace.of_load(pace, limits.account_rates, self._load, batch_rows=limits.batch_rows)
                api = DataManagerApi(client, pace=pace, timeout_s=self._options.timeout_s)
                self._connected = DataManagerDelivery(api, self._place, self._options)
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


def outcomes_of(
    sent: Mapping[int, Outcome],
    refused: Mapping[int, str],
    fields: Mapping[int, str],
    *,
    rows: int,
    otherwise: Outcome,
) -> Outcomes:
    """Return the outcome of each row.

    Args:
        sent: those of the rows that were sent.
        refused: the codes of those that were not.
        fields: the field of a refused row's code, where one is known.
        rows: their number.
        otherwise: the outcome of any other row.
    """
    known = {**sent, **{row: Outcome(RowStatus.REJECTED, code, fields.get(row, "")) for row, code in refused.items()}}
    every = [known.get(row, otherwise) for row in range(rows)]
    common = Counter(every).most_common(1)[0][0] if every else otherwise
    return Outcomes(rows, common, {row: outcome for row, outcome in enumerate(every) if outcome != common})
