"""Salesforce as a destination: records by Bulk API 2.0, each row's outcome by its external id.

Limits, read 2026-11-29:

- 100 MB in a job, as uploaded: Salesforce counts 150 MB after Base64
  (https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_prepare_csv.htm);
- 150,000,000 records and 15,000 batches of 10,000 records in 24 hours, 400,000 characters a record
  (https://developer.salesforce.com/docs/atlas.en-us.api_bulk_v2.meta/api_bulk_v2/bulk_api_2_limits.htm);
- the org's API requests of 24 hours, of which a job takes about eight; each answer has the number, in
  `Sforce-Limit-Info` (https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm).
  Beyond `max_api_share` no new job is made;
- results and jobs are kept for 7 days.

A batch is a job, and its rows are pending under the job's id. Salesforce gives back each line in one of three tables:
successful, failed (with a code), unprocessed. Their order is any, so lines are matched by the external id, never by
number or place. An unprocessed row is `unsent`: the next try sends it again. A row in no table is uncertain.

To delete takes record ids: they are asked for first, and after the job it is asked again who is still there, so a
deletion that was only reported is not accepted. `clear_fields` and `write="update"` change records by their ids too: no
record is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.batch_jobs import BatchJobs
from airflow_consent_retl.destinations.http.keyed_lines import RecordEncoder
from airflow_consent_retl.destinations.http.responses import ACCEPTED, NOT_FOUND
from airflow_consent_retl.destinations.http.session_destination import SessionDestination
from airflow_consent_retl.destinations.salesforce.api import SalesforceApi
from airflow_consent_retl.destinations.salesforce.bulk_jobs import JobState, ensure_started, job_state, started_job
from airflow_consent_retl.destinations.salesforce.consent_objects import (
    CONSENT_OBJECT,
    ContactPointTypeConsent,
    IndividualFlags,
    changed_lines,
    check_answers,
)
from airflow_consent_retl.destinations.salesforce.job_reader import KnownObject, SalesforceJobReader
from airflow_consent_retl.destinations.salesforce.options import WITHDRAWAL_CHOICES, SalesforceOptions
from airflow_consent_retl.destinations.salesforce.record_csv import EMPTY, LINES
from airflow_consent_retl.destinations.salesforce.status_codes import STATUS_CODES
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa
    from simple_salesforce.api import Salesforce

    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.destinations.salesforce.bulk_jobs import Operation

# To make it, to fill it, to start it, to ask for its end, and to read its three tables.
_CALLS_OF_A_JOB = 8


class SalesforceDestination(SessionDestination[SalesforceOptions, SalesforceApi, JobState]):
    """Upserts records of one object, and takes them back as the DAG chose.

    Args:
        connect: logs in with Airflow's hook, and returns its client.
        options: from `SalesforceSpec`.
        domain: of the login.
        user: who logs in; empty: an app.
    """

    name: ClassVar[str] = "Salesforce"
    withdrawal_choices: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES
    _encoder: RecordEncoder
    _reader: SalesforceJobReader

    def __init__(
        self, connect: Callable[[], Salesforce], options: SalesforceOptions, *, domain: str, user: str
    ) -> None:
        super().__init__(options)
        self._connect = connect
        self._domain = domain
        self._user = user
        consents = options.consents()
        self._points = [one for one in consents if isinstance(one, ContactPointTypeConsent)]
        self._flags = next((one for one in consents if isinstance(one, IndividualFlags)), None)

    @property
    def target(self) -> str:
        """The object, its external id, and the domain of the login."""
        return f"{self._options.sobject} by {self._options.external_id} at {self._domain}"

    @property
    def dataset_name(self) -> DatasetName:
        """The object, at the domain of the login."""
        return DatasetName(f"https://{self._domain}", self._options.sobject)

    @property
    def target_details(self) -> Mapping[str, str]:
        """The user, who belongs to one org."""
        return {"the user": self._user} if self._user else {}

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is one of Salesforce's status codes."""
        return code in STATUS_CODES

    def new_api(self, before_request: Callable[[], None]) -> SalesforceApi:
        """Return the calls of the org."""
        return SalesforceApi(self._connect, self._options, before_request)

    def prepare(self, load: Load, api: SalesforceApi) -> None:
        """Log in, and check the fields against the object's description."""
        self._encoder = self._encoder_of(load)
        if load.key_field != self._options.external_id:
            raise ConfigurationError(f"map the model's primary key to the external id `{self._options.external_id}`")
        if load.rows:
            check_answers(load.schema.names, self._points)
        known = KnownObject.described(api, self._options, load)
        # A column such as `Account.Key__c` finds a parent; its relation is not in the description under this name.
        named = [name for name in self._encoder.fields if load.rows and not {".", ":"} & set(name)]
        known.check_fields([*named, *self._options.clear_fields])
        self._reader = SalesforceJobReader(api, known, self._points, self._flags)
        if api.budget is not None and load.rows:
            api.budget.announce(_CALLS_OF_A_JOB * -(-load.rows // self._options.batch_rows))

    def job_state(self, api: SalesforceApi, job: str) -> JobState | None:
        """Ask for a job."""
        return job_state(api, job)

    def begun(self, api: SalesforceApi, job: str, state: JobState) -> JobState:
        """Give up a job that was never started."""
        return ensure_started(api, job, state)

    def results(self, job: str, state: JobState, people: Sequence[str]) -> list[Outcome]:
        """Return the outcome of each person in one job."""
        return self._reader.outcomes(job, state, people)

    def keys(self, rows: pa.RecordBatch) -> list[str | None]:
        """Return the external id of each row."""
        some = rows.select([self._options.external_id])
        return RecordEncoder(LINES, some.schema, self._options.external_id).encode(some).keys

    def sent_as(self, rows: pa.RecordBatch, load: Load) -> list[dict[str, object]]:
        """Return the texts of the CSV."""
        encoder = self._encoder_of(load)
        return [dict(zip(encoder.fields, texts, strict=True)) for texts in encoder.encode(rows).records.values()]

    def send(self, batch: Batch) -> Outcomes:
        """Start a job for the rows, and one for what the people consented to; the rows are pending."""
        write = self._options.write
        with self.calling() as api:
            encoded = self._encoder.encode(batch.rows)
            header, lines = self._encoder.fields, {key: [texts] for key, texts in encoded.records.items()}
            if write == "update":
                ids = self._reader.ids(list(lines))
                header = ["Id", *header]
                lines = {key: [[ids[key][0], *texts]] for key, (texts,) in lines.items() if key in ids}
            answers = {
                key: {point.field: batch.rows.column(point.field)[row].as_py() == "OptIn" for point in self._points}
                for row, key in enumerate(encoded.keys)
                if key in lines and self._points
            }
            changed = changed_lines(api, self._points, answers, at=self.load.decided_at)
            jobs = BatchJobs(max_body_bytes=self._options.max_body_bytes)
            external_id = self._options.external_id if write == "upsert" else None
            jobs.start(header, lines, partial(started_job, api, self._options.sobject, write, external_id=external_id))
            self._write_consent(api, jobs, changed)
        refused = {row: Outcome(RowStatus.REJECTED, code) for row, code in encoded.refused.items()}
        return jobs.outcomes(encoded.keys, otherwise=NOT_FOUND, refused=refused)

    def remove(self, batch: Batch) -> Outcomes:
        """Delete records, empty fields, or write consent objects; a person without a record is removed already."""
        match self._options.on_withdrawal:
            case "delete":
                operation: Operation = "hardDelete" if self._options.hard_delete else "delete"
                return self._changed(batch, operation)
            case "clear_fields":
                return self._changed(batch, "update", emptied=self._options.clear_fields)
            case _:
                return self._changed(batch, None, ended=self._points, flags=self._flags)

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Empty fields of records; a field that says what a person consented to writes its consent object instead."""
        ended = [point for point in self._points if point.field in fields]
        answers = {point.field for point in ended}
        emptied = [name for name in fields if name not in answers]
        return self._changed(batch, "update" if emptied else None, emptied=emptied, ended=ended)

    def _changed(
        self,
        batch: Batch,
        operation: Operation | None,
        *,
        emptied: Sequence[str] = (),
        ended: Sequence[ContactPointTypeConsent] = (),
        flags: IndividualFlags | None = None,
    ) -> Outcomes:
        """Change the records of people, and say what they do not consent to any more; who has none is accepted."""
        keys = self.keys(batch.rows)
        people = list(dict.fromkeys(key for key in keys if key is not None))
        jobs = BatchJobs(max_body_bytes=self._options.max_body_bytes)
        with self.calling() as api:
            if operation is not None:
                by_id, empty = operation != "update", [EMPTY] * len(emptied)
                lines = {
                    key: [[record] if by_id else [record, key, *empty] for record in records]
                    for key, records in self._reader.ids(people).items()
                }
                header = ["Id"] if by_id else ["Id", self._options.external_id, *emptied]
                jobs.start(header, lines, partial(started_job, api, self._options.sobject, operation))
            denied = {key: {point.field: False for point in ended} for key in people}
            changed = changed_lines(api, ended, denied, at=self.load.decided_at, makes=operation is None)
            self._write_consent(api, jobs, changed)
            if flags is not None:
                of_flags = {key: [[key, *("true" for _ in flags.flags)]] for key in people}
                header = [flags.external_id, *flags.flags]
                jobs.start(
                    header, of_flags, partial(started_job, api, "Individual", "upsert", external_id=flags.external_id)
                )
        return jobs.outcomes(keys, otherwise=ACCEPTED)

    def _write_consent(self, api: SalesforceApi, jobs: BatchJobs, changed: Mapping[str, list[list[str]]]) -> None:
        if changed:
            point = self._points[0]
            jobs.start(
                point.header,
                changed,
                partial(started_job, api, CONSENT_OBJECT, "upsert", external_id=point.external_id),
            )

    def _encoder_of(self, load: Load) -> RecordEncoder:
        return RecordEncoder(
            LINES,
            load.schema,
            self._options.external_id,
            keep_nulls=self._options.nulls == "keep",
            cleared=load.cleared,
            leave_out=[point.field for point in self._points],
        )
