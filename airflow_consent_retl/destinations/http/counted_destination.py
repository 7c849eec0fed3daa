"""The base of destinations whose requests are accepted as a whole, processed later, and reported in counts.

Each row is `pending` under the request's id until `confirm` returns its outcome; after a partial success every row is
uncertain.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_consent_retl.contract.account_rate import AccountRate
from airflow_consent_retl.contract.destination import Destination, Limits, Load
from airflow_consent_retl.contract.opened import opened
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.account_pace import AccountPace
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.destinations.http.request_counts import counted
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.counted_delivery import AcceptedRequest, CountedDelivery

log = module_log(__name__)


class CountedOptions(Protocol):
    """The limits of such a destination."""

    @property
    def batch_rows(self) -> int:
        """Maximum number of rows in a request."""

    @property
    def concurrency(self) -> int:
        """Requests at the same time."""

    @property
    def requests_per_minute(self) -> int:
        """The most requests of the account."""


class CountedDestination(Destination):
    """Sends rows to one target, and asks for their outcomes.

    Attributes:
        vendor: its name in messages about the quota.
        over_quota: the code of a call that the pace delays too long.

    Args:
        options: see there.
        noun: what the target is, such as `audience`.
        pace: of all destinations of a task; by default one of its own. An open load keeps the quota together with the
            other workers of the ledger, too.
        quota: returns what the vendor counts requests by, as far as the connection tells it.
    """

    vendor: ClassVar[str]
    over_quota: ClassVar[str]

    def __init__(self, options: CountedOptions, *, noun: str, pace: Pace | None, quota: Callable[[], str]) -> None:
        self._limited = options
        self._noun = noun
        self._quota = quota
        self.pace = pace or Pace(requests=options.requests_per_minute, code=self.over_quota)
        self._lock = threading.Lock()
        self._connected: CountedDelivery | None = None
        self._load: Load | None = None
        self._omitted: Counter[str] = Counter()

    @abstractmethod
    def check_fields(self, load: Load) -> None:
        """Check the fields of a load, and keep what encodes them.

        Raises:
            ConfigurationError: they are wrong.
        """

    @abstractmethod
    def connected(self, pace: Callable[[], Pace]) -> CountedDelivery:
        """Return the connected delivery; `pace` returns the pace of all of its calls, once there is a client."""

    @abstractmethod
    def field_of(self, kind: str, names: Iterable[str]) -> str:
        """Return the only one of the load's fields that is of a kind; empty: there is none, or several."""

    @property
    def limits(self) -> Limits:
        """The limits on rows in a request, on requests at the same time, and on those of a minute of the account."""
        options = self._limited
        rate = AccountRate(account=self._quota(), requests=options.requests_per_minute, period_s=60, vendor=self.vendor)
        return Limits(batch_rows=options.batch_rows, concurrency=options.concurrency, account=rate)

    @property
    def load(self) -> Load:
        """The load.

        Raises:
            DestinationError: the destination was not opened.
        """
        return opened(self._load, f"the {self._noun}")

    def open(self, load: Load) -> None:
        """Check the fields and the connection's credentials; nothing is sent or contacted."""
        self.check_fields(load)
        self._load = load
        self._delivery()

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
        """Close the connection: each request was final when it was accepted."""
        self._close(give_up=False)

    def abort(self) -> None:
        """End waits and running calls, and close the connection."""
        self._close(give_up=True)

    def note_omitted(self, omitted: Mapping[str, int]) -> None:
        """Count values that were left out, for the log."""
        if omitted:
            with self._lock:
                self._omitted.update(omitted)

    def deliver(
        self,
        messages: Mapping[int, Any],
        pieces: list[list[int]],
        call: Callable[[Any, list[Any]], AcceptedRequest],
    ) -> dict[int, Outcome]:
        """Send messages by their rows in these pieces, and return the outcome of each.

        Args:
            messages: in the vendor's form.
            pieces: the rows that are sent together.
            call: makes a request, given the API and messages.
        """
        load = self.load
        sent = self._delivery().deliver(messages, pieces, call, before_request=load.before_request)
        of, names = self.field_of, load.schema.names
        return {row: replace(one, field=of(one.field, names)) if one.field else one for row, one in sent.items()}

    def _delivery(self) -> CountedDelivery:
        with self._lock:
            if self._connected is None:
                self._connected = self.connected(self._shared_pace)
            return self._connected

    def _shared_pace(self) -> Pace:
        limits = self.limits
        # A trigger asks about a request, and has no load.
        if self._load is None:
            return self.pace
        return AccountPace.of_load(self.pace, limits.account_rates, self._load, batch_rows=limits.batch_rows)

    def _close(self, *, give_up: bool) -> None:
        with self._lock:
            connected, self._connected = self._connected, None
            if self._omitted:
                log.warning("people were sent without their invalid values (%s)", counted(self._omitted))
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
    return Outcomes.of(known.get(row, otherwise) for row in range(rows)) if rows else Outcomes(0, otherwise)
