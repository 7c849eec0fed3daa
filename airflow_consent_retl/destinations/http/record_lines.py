"""The base of destinations that keep records of one kind by an external id, in jobs that are files of lines."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.contract.outcomes import UNREADABLE_ANSWER, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.batch_jobs import BatchJobs, gone, worst
from airflow_consent_retl.destinations.http.consent_records import (
    ConsentRecord,
    WithdrawalFlags,
    changed_records,
    check_answers,
)
from airflow_consent_retl.destinations.http.found_records import ids_by_key
from airflow_consent_retl.destinations.http.keyed_lines import KeyedLines, LineForm, RecordEncoder
from airflow_consent_retl.destinations.http.line_jobs import JobResults, LineJob, LineJobs
from airflow_consent_retl.destinations.http.record_options import RecordOptions
from airflow_consent_retl.destinations.http.responses import ACCEPTED, NOT_FOUND, UnreadableAnswerError
from airflow_consent_retl.destinations.http.session_api import LoggedIn, SessionApi
from airflow_consent_retl.destinations.http.session_destination import SessionDestination
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch, Load

Client = TypeVar("Client", bound=LoggedIn)
# Results of a job are asked for by each of its batches, soon after each other.
_JOBS_KEPT = 8
# Words of this kit: a plain word is shown only where it is known to be no value.
_OWN_CODES = frozenset(
    {"job_not_found", "never_started", "not_in_results", "several_results", "still_there", "unprocessed"}
)


class RecordApi(SessionApi[Client]):
    """Calls that find records too.

    Args:
        connect: logs in with the hook of another package, and returns its client; called again when a session ends.
        options: time limits, retries, and the share of the account's requests.
        before_request: called before each request that carries rows or lets them take effect.
    """

    def __init__(
        self, connect: Callable[[], Client], options: RecordOptions, before_request: Callable[[], None]
    ) -> None:
        super().__init__(options, before_request, share=options.max_api_share)
        self._connect = connect

    def logged_in(self) -> Client:
        """Log in with the hook."""
        client: Client = self._connect()
        return client

    @abstractmethod
    def records(
        self, kind: str, field: str, keys: Sequence[str], columns: Sequence[str] = (), *, quoted: bool = True
    ) -> list[dict[str, Any]]:
        """Return the records whose field has one of these values, with its id, the field and further columns.

        Raises: as `document`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldWords:
    """A vendor's words in the description of a field.

    Args:
        name: the property with its name.
        keys: the properties that are true of a field by which records are found.
        unique, case_sensitive: those that are true of such a field.
    """

    name: str
    keys: Sequence[str]
    unique: str
    case_sensitive: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRecords:
    """A kind of records as the vendor describes it.

    Args:
        kind: its name.
        fields: the fields that the connection's user can see.
        is_key, is_unique, is_case_sensitive: of the external id.
    """

    kind: str
    fields: Collection[str]
    is_key: bool
    is_unique: bool
    is_case_sensitive: bool

    @classmethod
    def of(cls, kind: str, fields: object, key: str, words: FieldWords) -> Self:
        """Return a description.

        Args:
            kind: of the records.
            fields: the vendor's list of them.
            key: the external id.
            words: see there.

        Raises:
            AttemptError: it is no description.
        """
        try:
            known = {str(field[words.name]): field for field in cast("list[Mapping[str, Any]]", fields)}
        except (KeyError, TypeError):
            raise AttemptError(UNREADABLE_ANSWER, maybe_applied=False) from None
        of_key = known.get(key, {})
        return cls(
            kind=kind,
            fields=known.keys(),
            is_key=any(of_key.get(word) is True for word in words.keys),
            is_unique=of_key.get(words.unique) is True,
            is_case_sensitive=of_key.get(words.case_sensitive) is True,
        )

    def check(self, options: RecordOptions, names: Sequence[str]) -> None:
        """Check that the external id suits, and that these fields are there.

        Raises:
            ConfigurationError: not.
        """
        key, missing = options.external_id, [name for name in names if name not in self.fields]
        if not self.is_key:
            raise ConfigurationError(f"`{key}` is no external id of {self.kind}")
        if options.write == "insert" and not self.is_unique:
            raise ConfigurationError(
                f'`{key}` of {self.kind} is not unique: write="insert" would make a second record at the next try'
            )
        if missing:
            raise ConfigurationError(
                f"{self.kind} has no field {', '.join(missing)} that the connection's user can see"
            )


Options = TypeVar("Options", bound=RecordOptions)
Api = TypeVar("Api", bound=RecordApi[Any])


class RecordLinesDestination(SessionDestination[Options, Api, LineJob]):
    """Writes records in jobs, and takes them back as the DAG chose; each row's outcome is found by its external id.

    A batch is a job, and its rows are pending under the job's id. To change or delete records by the vendor's ids, they
    are asked for first; after a deletion it is asked again who is still there, so one that was only reported is not
    accepted. The choices of `on_withdrawal` are `delete`, `clear_fields`, and any other one for the consents alone.

    Attributes:
        form: of the lines.
        line_jobs: the vendor's words for jobs.
        own_codes: the vendor's codes of refused rows, which can never quote a value.
        calls_of_a_job: about how many requests a job takes.
        id_column: of lines and records, with the vendor's id.
        deletions: the operations that delete.

    Args:
        options: see there.
        kind: of the records.
        consents: the consents that the vendor gets of each person.
        flags: what a withdrawal sets.
    """

    form: ClassVar[LineForm]
    line_jobs: ClassVar[LineJobs]
    own_codes: ClassVar[Collection[str]] = ()
    calls_of_a_job: ClassVar[int] = 8
    id_column: ClassVar[str] = "Id"
    deletions: ClassVar[Collection[str]] = ("delete",)
    _encoder: RecordEncoder
    _known: KnownRecords
    _is_text: bool

    def __init__(
        self, options: Options, *, kind: str, consents: Sequence[ConsentRecord] = (), flags: WithdrawalFlags | None
    ) -> None:
        super().__init__(options)
        self._kind = kind
        self._flags = flags
        self._answers = list(consents)
        self._consents: dict[str, list[ConsentRecord]] = {}
        for one in consents:
            self._consents.setdefault(one.kind, []).append(one)
        self._lock = threading.Lock()
        self._results: dict[str, JobResults] = {}

    @abstractmethod
    def described(self, api: Api) -> KnownRecords:
        """Ask for the description of the records. Raises as the calls do."""

    @abstractmethod
    def job_of(self, kind: str, operation: str, external_id: str | None) -> Mapping[str, object]:
        """Return the document that makes a job.

        Args:
            kind: of the records.
            operation: `insert`, `upsert`, `update`, or that of a deletion.
            external_id: by which an `upsert` finds records; None: the lines have the vendor's ids.
        """

    @property
    def deletion(self) -> str:
        """The operation of a job that deletes."""
        return "delete"

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is one of the vendor's."""
        return code in self.own_codes or code in _OWN_CODES

    def prepare(self, load: Load, api: Api) -> None:
        """Log in, and check the fields against the description."""
        options, names = self._options, load.schema.names
        self._encoder = self._encoder_of(load)
        if load.key_field != options.external_id:
            raise ConfigurationError(f"map the model's primary key to the external id `{options.external_id}`")
        if load.rows:
            check_answers(names, self._answers)
        self._is_text = not pa.types.is_integer(load.schema.field(options.external_id).type)
        self._known = self.described(api)
        # A column such as `Account.Key__c` finds a parent; its relation is not in the description under this name.
        named = [name for name in self._encoder.fields if load.rows and not {".", ":"} & set(name)]
        self._known.check(options, [*named, *options.clear_fields])
        if api.budget is not None and load.rows:
            api.budget.announce(self.calls_of_a_job * -(-load.rows // options.batch_rows))

    def job_state(self, api: Api, job: str) -> LineJob | None:
        """Ask for a job."""
        return self.line_jobs.state(api, job)

    def begun(self, api: Api, job: str, state: LineJob) -> LineJob:
        """Give up a job that was never started."""
        return self.line_jobs.begun(api, job, state)

    def keys(self, rows: pa.RecordBatch) -> list[str | None]:
        """Return the external id of each row."""
        some = rows.select([self._options.external_id])
        return RecordEncoder(self.form, some.schema, self._options.external_id).encode(some).keys

    def sent_as(self, rows: pa.RecordBatch, load: Load) -> list[dict[str, object]]:
        """Return the texts of the file."""
        texts: list[dict[str, object]] = self._encoder_of(load).encode(rows).lines.table.to_pylist()
        return texts

    def results(self, job: str, state: LineJob, people: Sequence[str]) -> list[Outcome]:
        """Return the outcome of each person in one job that has ended. Raises as the calls do."""
        with self.calling() as api:
            if state.operation in self.deletions:
                return self._gone(api, job, state, people)
            consents = self._consents.get(state.kind, []) if state.kind != self._kind else []
            if not consents:
                of = self._options if self._flags is None or state.kind == self._kind else self._flags
                results = self._results_of(api, job, state, of.external_id)
                return [results.by_key.get(person, results.default) for person in people]
            results = self._results_of(api, job, state, consents[0].external_id)
            of_person = [[one.key(person) for one in consents] for person in people]
            found = [[results.by_key[key] for key in keys if key in results.by_key] for keys in of_person]
            return [worst(some) if some else results.default for some in found]

    def send(self, batch: Batch) -> Outcomes:
        """Start a job for the rows, and one for what the people consented to; the rows are pending."""
        write = self._options.write
        jobs = BatchJobs(max_body_bytes=self._options.max_body_bytes)
        with self.calling() as api:
            encoded = self._encoder.encode(batch.rows)
            lines = encoded.lines
            if write == "update":
                lines = lines.after(self.id_column, {key: ids[0] for key, ids in self._ids(api, lines.owners).items()})
            granted = {
                one.field: pc.fill_null(pc.equal(batch.rows.column(one.field), one.granted), False).to_pylist()
                for one in self._answers
            }
            sent = set(lines.owners) if granted else set()
            answers = {
                key: {field: of[row] for field, of in granted.items()}
                for row, key in enumerate(encoded.keys)
                if key in sent
            }
            changed = self._changed_consents(api, self._consents, answers)
            external_id = self._options.external_id if write == "upsert" else None
            jobs.start(lines, partial(self._submit, api, self._kind, write, external_id=external_id))
            self._write(api, jobs, changed)
        refused = {row: Outcome(RowStatus.REJECTED, code) for row, code in encoded.refused.items()}
        return jobs.outcomes(encoded.keys, otherwise=NOT_FOUND, refused=refused)

    def remove(self, batch: Batch) -> Outcomes:
        """Delete records, empty fields, or write consents; a person without a record is removed already."""
        match self._options.on_withdrawal:
            case "delete":
                return self._changed(batch, self.deletion)
            case "clear_fields":
                return self._changed(batch, "update", emptied=self._options.clear_fields)
            case _:
                return self._changed(batch, None, ended=self._consents, flags=self._flags)

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Empty fields of records; a field that says what a person consented to writes its consent instead."""
        ended = {kind: [one for one in some if one.field in fields] for kind, some in self._consents.items()}
        answers = {one.field for one in self._answers}
        emptied = [name for name in fields if name not in answers]
        return self._changed(batch, "update" if emptied else None, emptied=emptied, ended=ended)

    def _changed(
        self,
        batch: Batch,
        operation: str | None,
        *,
        emptied: Sequence[str] = (),
        ended: Mapping[str, Sequence[ConsentRecord]] | None = None,
        flags: WithdrawalFlags | None = None,
    ) -> Outcomes:
        """Change the records of people, and say what they do not consent to any more; who has none is accepted."""
        keys = self.keys(batch.rows)
        people = list(dict.fromkeys(key for key in keys if key is not None))
        jobs = BatchJobs(max_body_bytes=self._options.max_body_bytes)
        with self.calling() as api:
            if operation is not None:
                by_id, empty = operation in self.deletions, [self.form.empty] * len(emptied)
                lines = {
                    key: [[record] if by_id else [record, key, *empty] for record in records]
                    for key, records in self._ids(api, people).items()
                }
                header = [self.id_column] if by_id else [self.id_column, self._options.external_id, *emptied]
                jobs.start(KeyedLines.of_people(header, lines), partial(self._submit, api, self._kind, operation))
            denied = {key: {one.field: False for one in self._answers} for key in people}
            self._write(api, jobs, self._changed_consents(api, ended or {}, denied, makes=operation is None))
            if flags is not None:
                header, values = [flags.external_id, *flags.flags], ["true"] * len(flags.flags)
                raised = KeyedLines.of_people(header, {key: [[key, *values]] for key in people})
                jobs.start(raised, partial(self._submit, api, flags.kind, "upsert", external_id=flags.external_id))
        return jobs.outcomes(keys, otherwise=ACCEPTED)

    def _changed_consents(
        self,
        api: Api,
        consents: Mapping[str, Sequence[ConsentRecord]],
        answers: Mapping[str, Mapping[str, bool]],
        *,
        makes: bool = False,
    ) -> dict[str, dict[str, list[list[str]]]]:
        at = self.load.decided_at
        return {kind: changed_records(api, some, answers, at=at, makes=makes) for kind, some in consents.items()}

    def _write(self, api: Api, jobs: BatchJobs, changed: Mapping[str, Mapping[str, list[list[str]]]]) -> None:
        for kind, some in changed.items():
            if some:
                one = self._consents[kind][0]
                lines = KeyedLines.of_people(list(one.record("", granted=False)), some)
                jobs.start(lines, partial(self._submit, api, kind, "upsert", external_id=one.external_id))

    def _submit(self, api: Api, kind: str, operation: str, body: bytes, *, external_id: str | None = None) -> str:
        if api.budget is not None:
            api.budget.check()
        return self.line_jobs.submit(api, self.job_of(kind, operation, external_id), body)

    def _ids(self, api: Api, people: Sequence[str]) -> dict[str, list[str]]:
        """Return the vendor's ids of the records that people have, by key. Raises as the calls do."""
        field, fold = self._options.external_id, str if self._known.is_case_sensitive else str.casefold
        records = api.records(self._kind, field, list(dict.fromkeys(people)), quoted=self._is_text)
        try:
            return ids_by_key(records, people, field=field, id_field=self.id_column, fold=fold)
        except UnreadableAnswerError:
            raise AttemptError(UNREADABLE_ANSWER, maybe_applied=False) from None

    def _gone(self, api: Api, job: str, state: LineJob, people: Sequence[str]) -> list[Outcome]:
        """Return who is not there after a deletion; a person who is still there has the job's own outcome."""
        try:
            left = self._ids(api, people)
        except AttemptError as failure:
            if failure.code != UNREADABLE_ANSWER:
                raise
            return [Outcome(RowStatus.UNCERTAIN, UNREADABLE_ANSWER)] * len(people)
        if not left:
            return [ACCEPTED] * len(people)
        results = self._results_of(api, job, state, self.id_column)
        return gone(people, left, lambda record: results.by_key.get(record, results.default))

    def _results_of(self, api: Api, job: str, state: LineJob, column: str) -> JobResults:
        with self._lock:
            found = self._results.get(job)
        if found is None:
            # Not under the lock: other threads read other jobs.
            found = self.line_jobs.results(api, job, state, column=column)
            with self._lock:
                self._results[job] = found
                while len(self._results) > _JOBS_KEPT:
                    del self._results[next(iter(self._results))]
        return found

    def _encoder_of(self, load: Load) -> RecordEncoder:
        return RecordEncoder(
            self.form,
            load.schema,
            self._options.external_id,
            keep_nulls=self._options.nulls == "keep",
            cleared=load.cleared,
            leave_out=[one.field for one in self._answers],
        )
