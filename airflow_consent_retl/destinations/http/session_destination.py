"""The base of destinations on the session of another package's hook, whose batches are jobs that end later."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from airflow_consent_retl.contract.destination import Destination, Limits
from airflow_consent_retl.contract.opened import opened
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.batch_jobs import worst
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.destinations.http.session_api import RefusedCallError, SessionApi, call_error
from airflow_consent_retl.destinations.http.written_rows import APPLIED_LATER

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Load

JOB_NOT_FOUND = "job_not_found"


class RunningJob(Protocol):
    """The state of a job."""

    @property
    def is_running(self) -> bool:
        """True while the vendor works on it."""


Options = TypeVar("Options", bound=HttpOptions)
Api = TypeVar("Api", bound=SessionApi[Any])
State = TypeVar("State", bound=RunningJob)


class SessionDestination(Destination, Generic[Options, Api, State]):
    """A destination whose rows are pending under the ids of jobs, several joined by `+`.

    Attributes:
        name: the vendor's name in messages.

    Args:
        options: limits, time limits and retries.
    """

    can_remove: ClassVar[bool] = True
    can_clear: ClassVar[bool] = True
    write_refusals: ClassVar[Mapping[str, str]] = APPLIED_LATER
    name: ClassVar[str]

    def __init__(self, options: Options) -> None:
        self._options = options
        self._api: Api | None = None
        self._load: Load | None = None
        self._asking: Api | None = None

    @abstractmethod
    def new_api(self, before_request: Callable[[], None]) -> Api:
        """Return the calls of the account; contacts nothing."""

    @abstractmethod
    def prepare(self, load: Load, api: Api) -> None:
        """Check the load, and keep what it needs; nothing is sent.

        Raises:
            ConfigurationError: the fields do not suit the destination.
            AttemptError, RefusedCallError: as the calls do.
        """

    @abstractmethod
    def job_state(self, api: Api, job: str) -> State | None:
        """Return the state of a job; None: the vendor does not know it. Raises as the calls do."""

    @abstractmethod
    def begun(self, api: Api, job: str, state: State) -> State:
        """Return the state of a job after one that was never started is given up. Raises as the calls do."""

    @abstractmethod
    def results(self, job: str, state: State, people: Sequence[str]) -> list[Outcome]:
        """Return the outcome of each person in one job that has ended. Raises as the calls do."""

    @abstractmethod
    def keys(self, rows: pa.RecordBatch) -> list[str | None]:
        """Return the key of each row, by which results name it; None: it has none."""

    @property
    def on_withdrawal(self) -> str:
        """The choice of the DAG."""
        return getattr(self._options, "on_withdrawal", "")

    @property
    def limits(self) -> Limits:
        """The limits on rows in a job, and on jobs that are made at the same time."""
        return Limits(batch_rows=self._options.batch_rows, concurrency=self._options.concurrency)

    @property
    def load(self) -> Load:
        """The load.

        Raises:
            DestinationError: the destination was not opened.
        """
        return opened(self._load, self.name)

    @contextmanager
    def calling(self) -> Iterator[Api]:
        """Lend the calls of the open load; their errors become those of the contract.

        Raises:
            DestinationError: the destination was not opened, or a call was refused.
            DestinationUnavailableError: another try may help.
        """
        api = opened(self._api, self.name)
        try:
            yield api
        except (AttemptError, RefusedCallError) as failure:
            raise call_error(failure, self.name) from None

    def open(self, load: Load) -> None:
        """Log in, and check the load; nothing is sent."""
        api = self.new_api(load.before_request)
        try:
            self.prepare(load, api)
        except (AttemptError, RefusedCallError) as failure:
            raise call_error(failure, self.name) from None
        self._api, self._load = api, load

    def check(self, load: Load) -> None:
        """Check as `open` does: nothing is sent."""
        try:
            self.open(load)
        finally:
            self.abort()

    def confirm_rows(self, request_id: str, rows: int, read: Callable[[], pa.RecordBatch]) -> Outcomes | None:
        """Return the outcomes of rows, by their keys, when all jobs of the request have ended."""
        with self.calling() as api:
            states = {job: self.job_state(api, job) for job in request_id.split("+")}
            if any(state is None for state in states.values()):
                return Outcomes.uncertain(rows, JOB_NOT_FOUND)
            ended = {job: self.begun(api, job, state) for job, state in states.items() if state is not None}
            if any(state.is_running for state in ended.values()):
                return None
            people = [key or "" for key in self.keys(read())]
            of_jobs = [self.results(job, state, people) for job, state in ended.items()]
        return Outcomes.of(of_jobs[0] if len(of_jobs) == 1 else map(worst, zip(*of_jobs, strict=True)))

    def is_processed(self, request_id: str) -> bool:
        """Return whether `confirm_rows` has an answer about a request. It needs no open load."""
        if self._asking is None:
            self._asking = self.new_api(lambda: None)
        try:
            states = [self.job_state(self._asking, job) for job in request_id.split("+")]
        except (AttemptError, RefusedCallError) as failure:
            raise call_error(failure, self.name) from None
        return not any(state is not None and state.is_running for state in states)

    def commit(self) -> None:
        """Close the connections: every job has ended."""
        self._close(give_up=False)

    def abort(self) -> None:
        """End waits and close the connections; jobs that were started go on."""
        self._close(give_up=True)

    def _close(self, *, give_up: bool) -> None:
        api, asking = self._api, self._asking
        self._api = self._load = self._asking = None
        for one in (asking, api):
            if one is not None:
                one.close(give_up=give_up)
