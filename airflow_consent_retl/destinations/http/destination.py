"""The base of HTTP destinations: a subclass defines its requests and reads its answers."""

from __future__ import annotations

import math
import re
import threading
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from airflow_consent_retl.contract.account_rate import AccountRate
from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.opened import opened
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.account_pace import AccountPace
from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
from airflow_consent_retl.destinations.http.http_delivery import HttpDelivery
from airflow_consent_retl.destinations.http.jobs import JobReader, JobRows
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import SentObjects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.jobs import Job
    from airflow_consent_retl.destinations.http.options import HttpOptions
    from airflow_consent_retl.destinations.http.purpose import Purpose

_HTTP_CODE = re.compile(r"http_[1-5][0-9]{2}")


class HttpDestination(Destination):
    """A destination whose requests are JSON over HTTP, to one host.

    It encodes rows, sends each batch under its idempotency key, keeps the pace, retries where that may help, cuts
    batches that are too large, and reports a request whose answer was lost as uncertain.

    Attributes:
        name: the other side's name in messages, such as `webhook`.
        requests_per_s: the vendor's limit on an account, over all workers; None: there is none, or `account_rates`
            returns others. The account is known by its credentials.
        burst_requests: see `Limits`.

    Args:
        address: from `http_address`.
        options: see `HttpOptions`.
    """

    can_remove: ClassVar[bool] = True
    name: ClassVar[str]
    takes_slices: ClassVar[bool] = True
    requests_per_s: ClassVar[float | None] = None
    burst_requests: ClassVar[int | None] = None

    def __init__(self, address: HttpAddress, options: HttpOptions) -> None:
        self._address = address
        self._http_options = options
        self._delivery: HttpDelivery | None = None
        self._sending: Purpose | None = None
        self._removing: Purpose | None = None
        self._load: Load | None = None
        self._job_lock = threading.Lock()
        self._http_pace = Pace.per_second(self.requests_per_s, burst=self.burst_requests)
        self._job_reader: JobReader | None = None

    @abstractmethod
    def sending(self, load: Load) -> Purpose:
        """Return the form of requests that store rows.

        Raises:
            ConfigurationError: the fields do not suit the destination.
        """

    @abstractmethod
    def removing(self, load: Load) -> Purpose | None:
        """Return the form of requests that remove people; None where this load cannot remove.

        Raises:
            ConfigurationError: the fields do not suit the destination.
        """

    def clearing(self, load: Load, fields: Sequence[str]) -> Purpose | None:
        """Return the form of requests that clear fields of people; None where this load cannot clear.

        Only a destination with `can_clear` needs it. Its encoder gets rows from `with_nulls`.
        """
        return None

    def jobs(self) -> Sequence[Job]:
        """Return the kinds of jobs that this vendor processes later; none: it answers at once."""
        return ()

    def account_rates(self) -> tuple[AccountRate, ...]:
        """Return the vendor's limits on the requests of this account, over all workers; none by default."""
        return ()

    @property
    def limits(self) -> Limits:
        """The limits on rows in a request, people in a removal, requests at the same time and requests in a second."""
        return Limits(
            batch_rows=self._http_options.batch_rows,
            concurrency=self._http_options.concurrency,
            removal_rows=self._http_options.removal_batch_rows,
            requests_per_s=self.requests_per_s,
            burst_requests=self.burst_requests,
            account=self.account_rates() or None,
        )

    @property
    def on_withdrawal(self) -> str:
        """The choice in the options, which have it if the destination offers one."""
        return getattr(self._http_options, "on_withdrawal", "")

    @property
    def target(self) -> str:
        """Scheme, host, port and path of the endpoint."""
        address = self._address
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"{address.scheme}://{host.lower()}:{address.port}{address.path}"

    @property
    def dataset_name(self) -> DatasetName:
        """The path of the endpoint, or the vendor's own name of the place, at the API's scheme, host and port."""
        address = self._address
        origin = f"{address.scheme}://{address.host.lower()}:{address.port}"
        return DatasetName(origin, self.target.removeprefix(origin) or "/")

    @property
    def target_details(self) -> Mapping[str, str]:
        """The query, and the headers that are no credentials: they may name an account, a list or a tenant."""
        address = self._address
        query = {"the query": address.query} if address.query else {}
        return query | {f"header {name.lower()}": value for name, value in address.place_headers.items()}

    @property
    def former_targets(self) -> Sequence[str]:
        """The endpoint's path and the connection."""
        return [f"`{self._address.path}` of connection `{self._address.conn_id}`"]

    def is_own_code(self, code: str) -> bool:
        """Return whether a code names the status of an answer; a subclass adds its vendor's codes."""
        return _HTTP_CODE.fullmatch(code) is not None

    def open(self, load: Load) -> None:
        """Check the fields' types, and every address of the host; nothing is sent."""
        self._sending = self.sending(load)
        self._removing = self.removing(load)
        self._load = load
        self._http_pace = self._shared_pace(load)
        self._delivery = HttpDelivery(self.name, self._address, self._http_options, load, pace=self._http_pace)

    @property
    def load(self) -> Load:
        """The load.

        Raises:
            DestinationError: the destination was not opened.
        """
        return opened(self._load, f"the {self.name}")

    def _opened_delivery(self) -> HttpDelivery:
        return opened(self._delivery, f"the {self.name}")

    def _shared_pace(self, load: Load) -> Pace:
        limits = self.limits
        rates, own = limits.account_rates, self._http_pace
        if not rates and limits.requests_per_s is not None:
            # The vendor counts by account, and the credentials are all that is known of it.
            at_once = limits.burst_requests or max(1, math.floor(limits.requests_per_s))
            period_s = at_once / limits.requests_per_s
            account = self._address.account
            rates = (AccountRate(account=account, requests=at_once, period_s=period_s, vendor=f"the {self.name}"),)
            own = Pace()
        return AccountPace.of_load(own, rates, load, batch_rows=limits.batch_rows)

    def check(self, load: Load) -> None:
        """Check as `open` does: nothing is sent."""
        try:
            self.open(load)
        finally:
            self.abort()

    def sent_as(self, rows: pa.RecordBatch, load: Load) -> list[dict[str, object]]:
        """Return the JSON objects of the rows."""
        records = self.sending(load).encoder.rows(rows).records
        sent = SentObjects(records)
        return [sent[row] for row in range(len(sent))]

    def send(self, batch: Batch) -> Outcomes:
        """Send a batch, retry where that may help, and cut it into pieces where it is too large."""
        return self._opened_delivery().deliver(batch, opened(self._sending, f"the {self.name}"))

    def remove(self, batch: Batch) -> Outcomes:
        """Send a removal, with retries and pieces as in `send`."""
        delivery = self._opened_delivery()
        if self._removing is None:
            raise ConfigurationError(f"the primary key is not mapped: the {self.name} removes people by it")
        return delivery.deliver(batch, self._removing)

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Send people with fields that are null, with retries and pieces as in `send`."""
        delivery = self._opened_delivery()
        purpose = self.clearing(self.load, fields)
        if purpose is None:
            raise ConfigurationError(f"the primary key is not mapped: the {self.name} clears fields by it")
        return delivery.deliver(Batch(key=batch.key, rows=filled_with_nulls(batch.rows, fields)), purpose)

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        """Ask about a job, and read its results once it ended."""
        return self._opened_job_reader().outcomes(request_id, JobRows(rows, None))

    def confirm_rows(self, request_id: str, rows: int, read: Callable[[], pa.RecordBatch]) -> Outcomes | None:
        """Ask about a job, and read its results once it ended. Its rows are read again if the results name one."""
        return self._opened_job_reader().outcomes(request_id, JobRows(rows, read))

    def after_jobs(self, batch: Batch, outcomes: Outcomes, *, at_most_s: float) -> Outcomes:
        """Wait for what is pending of a batch, for a destination whose next request needs its result.

        Rows whose request does not end in time, or cannot be asked about, are uncertain.

        Args:
            batch: that was sent.
            outcomes: of it.
            at_most_s: the most seconds to wait for each request.

        Raises:
            LeaseLostError: from `Load.before_request`.
        """
        found = list(outcomes)
        for code in dict.fromkeys(one.code for one in found if one.status is RowStatus.PENDING):
            places = [row for row, one in enumerate(outcomes) if one == Outcome(RowStatus.PENDING, code)]
            read = partial(batch.rows.take, pa.array(places, pa.int64()))
            ended = self._opened_job_reader().awaited(
                partial(self.confirm_rows, code, len(places), read),
                len(places),
                at_most_s=at_most_s,
                before_question=self.load.before_request,
            )
            for row, one in zip(places, ended, strict=True):
                found[row] = one
        return replace(Outcomes.of(found), requests=tuple(outcomes.request_ids()))

    def is_processed(self, request_id: str) -> bool:
        """Ask about a job."""
        return self._opened_job_reader().is_processed(request_id)

    def batch_steps(
        self,
        batch: Batch,
        *,
        refuse: Callable[[Answer], None] | None = None,
        has_changed: bool = False,
        content_type: str = "application/json",
    ) -> BatchSteps:
        """Return the steps of a batch, for a destination that needs several; the arguments are those of `BatchSteps`.

        Raises:
            DestinationError: the destination was not opened.
        """
        return BatchSteps(
            self._opened_delivery(),
            self._address,
            batch,
            refuse=refuse,
            has_changed=has_changed,
            content_type=content_type,
        )

    def commit(self) -> None:
        """Close the connections: each batch was final when it was answered."""
        self._close(give_up=False)

    def abort(self) -> None:
        """End waits and running requests, and close the connections."""
        self._close(give_up=True)

    def _close(self, *, give_up: bool) -> None:
        if self._delivery is not None:
            self._delivery.close(give_up=give_up)
        with self._job_lock:
            reader, self._job_reader = self._job_reader, None
        if reader is not None:
            reader.close()

    def _opened_job_reader(self) -> JobReader:
        with self._job_lock:
            if self._job_reader is None:
                self._job_reader = JobReader(
                    self.name, self._address, self._http_options, pace=self._http_pace, jobs=self.jobs()
                )
            return self._job_reader


def with_nulls(people: pa.Schema, fields: Sequence[str]) -> pa.Schema:
    """Return the schema of people with fields to clear after their removal values."""
    schema = people
    for name in fields:
        schema = schema.append(pa.field(name, pa.string()))
    return schema


def filled_with_nulls(people: pa.RecordBatch, fields: Sequence[str]) -> pa.RecordBatch:
    """Return people with fields to clear, which are NULL, after their removal values."""
    schema = with_nulls(people.schema, fields)
    nulls = [pa.nulls(people.num_rows, schema.field(name).type) for name in fields]
    return pa.RecordBatch.from_arrays([*people.columns, *nulls], schema=schema)
