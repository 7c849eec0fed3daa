"""Jobs that a vendor processes later: submitted with rows, asked about, and their results read, page by page.

The id of a job is in the ledger before anything is asked, so the next try, in another process, asks about the same job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.contract.outcomes import UNREADABLE_ANSWER, Outcomes, is_request_id
from airflow_consent_retl.destinations.http.attempt import AttemptError, RequestDoubt
from airflow_consent_retl.destinations.http.exchange import Exchange
from airflow_consent_retl.destinations.http.responses import LATER, SentRows, UnreadableAnswerError, is_integer
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.options import HttpOptions
    from airflow_consent_retl.destinations.http.pace import Pace

JOB_UNKNOWN = "job_unknown"

_MISSING = frozenset({404, 410})
_MAX_RESULT_BYTES = 64 * 1024 * 1024
_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One kind of a vendor's jobs. Its functions raise `UnreadableAnswerError` for an answer that is not clear.

    Args:
        name: a word of letters; in the ledger, an id is `<name>:<the vendor's id>`.
        id_of: returns the vendor's id of a job from the answer to its submission.
        status: makes the endpoint that shows a job's state, below the host's base path.
        is_over: returns from that answer whether the job ended, well or not.
        read: returns the outcomes of a job that ended, from that answer and the pages of its results. The rows are
            those of the job, in the order in which they were sent, by the load's field names.
        results: makes the endpoint of the first page of results, from the id and the state's answer; None: this job has
            none to fetch.
        next_page: returns the endpoint, or the URL at the same host, of the page after one; None: it was the last.
        headers: of these requests.
    """

    name: str
    id_of: Callable[[Answer], object]
    status: Callable[[str], str]
    is_over: Callable[[Answer], bool]
    read: Callable[[Answer, Sequence[Answer], SentRows], Outcomes]
    results: Callable[[str, Answer], str | None] = lambda _id, _status: None
    next_page: Callable[[Answer], str | None] = lambda _page: None
    headers: Mapping[str, str] = field(default_factory=dict)

    def submitted(self, answer: Answer, sent: SentRows) -> Outcomes | None:
        """Return the outcomes of a submission: pending under the job's id. It is the `read` of a purpose."""
        if answer.status >= 400:
            return None
        try:
            vendor_id = self.id_of(answer)
        except UnreadableAnswerError:
            vendor_id = None
        request_id = f"{self.name}:{vendor_id}"
        if not (isinstance(vendor_id, str) or is_integer(vendor_id)) or not is_request_id(request_id):
            # The job may run, and no one can ask about it.
            return Outcomes.uncertain(len(sent), LATER)
        return Outcomes.pending(len(sent), request_id)


class JobRows:
    """The rows of a job, read when the first one is asked for: most jobs end without an error."""

    def __init__(self, rows: int, read: Callable[[], pa.RecordBatch] | None) -> None:
        self._rows = rows
        self._read = read
        self._found: list[dict[str, object]] | None = None

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> Mapping[str, object]:
        if self._read is None:
            return {}
        if self._found is None:
            self._found = self._read().to_pylist()
        return self._found[row]


class JobReader:
    """Asks about jobs. Any number of threads may call.

    Args:
        name: the other side's name in messages.
        address: names the host.
        options: see `HttpOptions`.
        pace: of all requests.
        jobs: the kinds of jobs.
    """

    def __init__(
        self, name: str, address: HttpAddress, options: HttpOptions, *, pace: Pace, jobs: Sequence[Job]
    ) -> None:
        self._name = name
        self._address = address
        self._jobs = {job.name: job for job in jobs}
        self._first_wait_s = options.backoff_s
        self._exchange = Exchange(address, options, pace=pace, max_answer_bytes=_MAX_RESULT_BYTES)

    def is_processed(self, request_id: str) -> bool:
        """Return whether a job ended, or is unknown; raises as `outcomes`."""
        job, vendor_id = self._job(request_id)
        status = self._get(job, job.status(vendor_id))
        return status is None or self._is_over(job, status)

    def outcomes(self, request_id: str, rows: SentRows) -> Outcomes | None:
        """Return the outcomes of a job's rows; None: it is still processed.

        A job that the vendor does not know, or whose results are not clear, leaves its rows uncertain.

        Raises:
            DestinationUnavailableError: no answer now, or none that can be read.
            DestinationError: the other side refuses the question.
        """
        job, vendor_id = self._job(request_id)
        status = self._get(job, job.status(vendor_id))
        if status is None:
            return Outcomes.uncertain(len(rows), JOB_UNKNOWN)
        if not self._is_over(job, status):
            return None
        try:
            outcomes = job.read(status, self._pages(job, job.results(vendor_id, status)), rows)
        except UnreadableAnswerError:
            return Outcomes.uncertain(len(rows), UNREADABLE_ANSWER)
        return outcomes if len(outcomes) == len(rows) else Outcomes.uncertain(len(rows), UNREADABLE_ANSWER)

    def awaited(
        self, ask: Callable[[], Outcomes | None], rows: int, *, at_most_s: float, before_question: Callable[[], None]
    ) -> Outcomes:
        """Ask until there is an answer, and return the outcomes; uncertain if none comes in time, or by an error.

        Args:
            ask: as `outcomes`.
            rows: their number.
            at_most_s: the most seconds to wait.
            before_question: called before each question; its errors are not caught.
        """
        ends, wait_s = time.monotonic() + at_most_s, self._first_wait_s
        while True:
            before_question()
            try:
                outcomes = ask()
            except (DestinationError, DestinationUnavailableError):
                break
            left_s = ends - time.monotonic()
            if outcomes is not None:
                return outcomes
            if left_s <= 0 or not self._exchange.retries.pause(min(wait_s, left_s)):
                break
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        return Outcomes.uncertain(rows, LATER)

    def close(self) -> None:
        """End waits and running requests, and close the connections."""
        self._exchange.close(give_up=True)

    def _job(self, request_id: str) -> tuple[Job, str]:
        name, _, vendor_id = request_id.partition(":")
        job = self._jobs.get(name)
        if job is None or not vendor_id:
            raise DestinationError(f"the {self._name} has no jobs of the kind of a pending request")
        return job, vendor_id

    def _is_over(self, job: Job, status: Answer) -> bool:
        try:
            return job.is_over(status)
        except UnreadableAnswerError:
            raise DestinationUnavailableError(
                f"the {self._name} at {self._place} answers {status.status} without a job's state that can be read"
            ) from None

    def _pages(self, job: Job, endpoint: str | None) -> list[Answer]:
        pages: list[Answer] = []
        asked: set[str] = set()
        while endpoint is not None:
            page = None if endpoint in asked else self._get(job, endpoint)
            if page is None:
                # The results are gone, or the pages go round in a circle.
                raise UnreadableAnswerError
            asked.add(endpoint)
            pages.append(page)
            endpoint = job.next_page(page)
        return pages

    def _get(self, job: Job, endpoint: str) -> Answer | None:
        try:
            address = self._address.linked(endpoint)
        except ConfigurationError:
            # A link to another host, or no link at all.
            raise UnreadableAnswerError from None
        try:
            answer = self._exchange.retries.run(lambda: self._attempt(job, address), doubt=RequestDoubt())
        except AttemptError as failure:
            raise DestinationUnavailableError(
                f"the {self._name} at {self._place} did not answer a question about a job: {failure.words}",
                retry_after_s=failure.retry_after_s,
            ) from None
        if answer.status in _MISSING:
            return None
        if not 200 <= answer.status < 300:
            raise DestinationError(
                f"the {self._name} at {self._place} refuses a question about a job with {answer.status}"
            )
        return answer

    def _attempt(self, job: Job, address: HttpAddress) -> Answer:
        answer = self._exchange.request("GET", address.target, b"", headers=job.headers)
        self._exchange.check_final(answer, changes=False)
        return answer

    @property
    def _place(self) -> str:
        return f"`{self._address.path}` of connection `{self._address.conn_id}`"
